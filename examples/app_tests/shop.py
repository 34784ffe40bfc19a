"""
Tasks of a shop.
"""

from taskqueue import App, Retry

app = App()

stock = {"apple": 3}


@app.task(max_retries=2)
def reserve(item: str, count: int = 1) -> int:
    """Put something aside; wait for more where there is not enough."""
    left = stock.get(item, 0) - count
    if left < 0:
        raise Retry(in_s=3600, reason=f"not enough of {item}")
    stock[item] = left
    give_back.options(run_in=900).submit(item, count)
    return left


@app.task
def give_back(item: str, count: int) -> None:
    """Nobody has paid within a quarter of an hour."""
    stock[item] += count


@app.task
async def price(item: str) -> float:
    """What it costs."""
    return {"apple": 0.5}[item]
