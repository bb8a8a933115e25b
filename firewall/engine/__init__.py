"""What a firewall policy means, computed from plain values.

``words`` and ``types`` have the words and values, ``glob`` the tool-name grammar, ``conditions``, ``sanitize``, ``egress``,
``sequence`` and ``shell`` the further matchers, ``rule_json`` how they are written. ``compile`` finds the rules that can match,
``decide`` judges one call, ``advertised`` the tools of one request, ``afterwards`` what a call adds to its run; ``explain``,
``validate``, ``remarks``, ``loosening`` and ``glob.hints`` help whoever writes a policy. No clock, no I/O, no Django; live
traffic, sandbox and simulation all call the same ``decide``.
"""
