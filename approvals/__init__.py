"""Human decisions on held calls: the hold and its review, the webhook and the notices that tell of it, the signed callback."""
