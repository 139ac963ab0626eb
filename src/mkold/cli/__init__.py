import os
import signal
import sys

_STARTED = os.path.basename("".join(sys.argv[:1])) in ("mkold", "__main__.py")
if _STARTED and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # Until main() listens, Ctrl-C ends the program without a word.
    signal.signal(signal.SIGINT, lambda number, frame: os._exit(130))
