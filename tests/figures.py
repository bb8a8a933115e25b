"""How many cases a property tries; the profiles themselves are in ``conftest``."""

from hypothesis import settings

EXAMPLES = settings.default.max_examples
#: For laws of which an example takes several milliseconds; the long profile tries as many as of any other.
dear = settings(max_examples=EXAMPLES if EXAMPLES > 2_000 else max(50, EXAMPLES // 5))
