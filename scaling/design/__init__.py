"""What a design can identify before it is trained, and which runs to train next.

With ``study`` and the command line, the only code that imports both packages.
"""

from scaling.own_analysis import require_own_analysis

require_own_analysis()
