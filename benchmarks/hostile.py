"""Answers that attack whoever grades them: each stands where a student defines `gate_parameters(skip, gating)`."""

# ruff: noqa: E501 - the attacks are one line each

WRONG = "def gate_parameters(skip, gating): return 0\n"
HOSTILE = {
    "endless loop": "def gate_parameters(s, g):\n    while True: pass",
    "fork bomb": "import os\ndef gate_parameters(s, g):\n    while True:\n        try: os.fork()\n        except OSError: pass",
    "memory": "def gate_parameters(s, g):\n    return len(b'x' * 2**36)",
    "output": "import os\ndef gate_parameters(s, g):\n    while True: os.write(1, b'x' * 2**20)",
    "large file": "def gate_parameters(s, g):\n    open('/tmp/f', 'wb').write(b'x' * 2**28)\n    return 0",
    "killed parent": "import os\ndef gate_parameters(s, g):\n    os.kill(os.getppid(), 9)\n    return 0",
    "kill all": "import os\nif __import__('sys').path: os.kill(-1, 9)\n" + WRONG,
    "patched torch": "import torch\ntorch.allclose = lambda *a, **k: True\ntorch.equal = torch.allclose\n" + WRONG,
    "patched judge": "from course.checks import verdict\nverdict.expect = lambda *a: None\nverdict._close = lambda *a: True\n"
    + WRONG,
    "patched check": "import course.checks.attention as a\na.gate_parameters.__class__.__call__ = lambda *a: None\n"
    + WRONG,
    "patched modules": "import sys\nsys.modules['course.checks'] = None\nsys.modules['numpy'] = None\n" + WRONG,
    "patched builtins": "import builtins\nbuiltins.AssertionError = builtins.bool = lambda *a: True\n" + WRONG,
    "equal to all": "class E:\n    __eq__ = lambda *a: True\n    __array__ = lambda *a, **k: 1 / 0\n"
    "def gate_parameters(s, g): return E()",
    "hidden exception": "def gate_parameters(s, g):\n    try: raise ValueError\n    except ValueError: return None",
    "exit": "import os\ndef gate_parameters(s, g): os._exit(0)",
    "success printed": "def gate_parameters(s, g):\n    print('✓ gate_parameters')\n    raise SystemExit(0)",
    "pickle": "import numpy as np\ndef gate_parameters(s, g): return np.array([{}], dtype=object)",
    "junk in every pipe": "import os\nfor f in range(3, 30):\n    try: os.write(f, b'A' * 100)\n    except OSError: pass\n"
    + WRONG,
}
