"""`manage.py bench`: what a call costs, side by side with nginx, on private servers in a temporary data folder.

``provider`` answers as fast as it can, ``load`` asks as fast as it may or at a rate; both are processes of their own. ``site`` starts what is
measured and counts its CPU time, ``figures`` does the rounds and says what was found. Nothing here is part of the product,
and nothing has a pass mark: on a shared machine only ratios and CPU time mean anything.
"""
