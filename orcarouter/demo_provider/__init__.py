"""The demo provider: a small server that speaks OpenAI's wire format and plays scripted stories. No model is in it.

``script`` decides what is answered, from the conversation alone; ``wire`` writes it as JSON or as an uneven stream;
``server`` is the ASGI application. It imports nothing of the product, which meets it as any other provider.
"""

# Micro-USD for a million tokens: input, output.
PRICES: dict[str, tuple[int, int]] = {
    "demo-small": (150_000, 600_000),
    "demo-large": (2_500_000, 10_000_000),
}
