// The pages: where they are, what they are called, and the key that leads to them.
import { Overview } from "./pages/overview.js";
import { SignIn } from "./pages/sign_in.js";
import { Welcome } from "./pages/welcome.js";

// In the order of the navigation, for those that have an icon.
export const ROUTES = [
  { path: "/", title: "Overview", key: "o", icon: "overview", page: Overview },
  { path: "/welcome", title: "First steps", page: Welcome },
  { path: "/sign-in", title: "Sign in", page: SignIn, bare: true },
];
