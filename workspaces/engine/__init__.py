"""What the ground floor computes from plain values: network addresses and who may be dialled, and canonical JSON. No clock, no I/O, no Django."""
