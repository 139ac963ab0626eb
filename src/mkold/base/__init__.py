"""What every room shares; imports no room.

``errors``   all that mkold raises on purpose, and source positions
``shown``    foreign text made fit to be shown
``files``    reading what the user names
``output``   writing result files
``signals``  how a verb is ended from outside
``memory``   how much may be taken
``workers``  many jobs in processes, under limits
``child``    one job in a fresh process
"""
