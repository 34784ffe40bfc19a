// Runs before the first paint, so that nobody sees the wrong theme flash by.
(function () {
  try {
    const chosen = localStorage.getItem("taskqueue-theme");
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch {
    // Storage may be forbidden: then the system's theme it is.
  }
})();
