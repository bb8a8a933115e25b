"""What a firewall policy means, computed from plain values.

``types`` has the words, ``glob`` the tool-name grammar, ``compile`` finds the
rules that can match a name, ``decide`` judges one call, ``advertised`` the
tools of one request, ``validate`` and ``glob.hints`` help whoever writes a
policy. No clock, no I/O, no Django; live traffic, sandbox and simulation all
call the same ``decide``.
"""
