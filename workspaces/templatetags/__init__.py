"""Template tags and filters of the console.

``orca`` is the library pages load; ``_charts`` computes the paths of server-drawn SVG. Nothing here reads rows.
"""
