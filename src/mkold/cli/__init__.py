import _signal as signal  # type: ignore[import-not-found]  # the half of it that costs no time
import os
import sys

_STARTED = os.path.basename("".join(sys.argv[:1])) in ("mkold", "__main__.py")
if _STARTED:  # until main() listens, these end the program without a word
    for _number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(_number) in (signal.default_int_handler, signal.SIG_DFL):
            signal.signal(_number, lambda number, frame: os._exit(130))
