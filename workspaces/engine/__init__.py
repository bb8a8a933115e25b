"""What the ground floor computes from plain values: network addresses and who may be dialled. No clock, no I/O, no Django."""
