"""The runner: the file that the interpreter is given in place of the program (command.py)."""

import os
import sys

if __name__ == '__main__':
    _here = os.path.dirname(os.path.abspath(__file__))
    if sys.path and sys.path[0] == _here:
        del sys.path[0]
    # (The package may be found by the program's own folder alone; then not yet.)
    _root = os.path.dirname(os.path.dirname(_here))
    sys.path.insert(0, _root)
    from tremolo.reload.program import main
    sys.path.remove(_root)
    main(sys.argv[1:])
