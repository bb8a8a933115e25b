"""What the gateway computes and never stores: wire formats, event streams, held tool calls, prices.

Bytes and plain values go in, frozen values and bytes come out. Nothing here opens a socket, reads a clock or knows
Django; every input has an answer, so a hostile body is a ``Refusal`` and never an exception.

``exchange`` is what every wire format is parsed into, ``openai`` is the first of them; ``sse`` cuts a stream into
events, ``gate`` holds its tool calls until they are judged and ``answer`` does the same for a JSON body; ``calls`` has
the words both share; ``pricing`` turns tokens into money.
"""
