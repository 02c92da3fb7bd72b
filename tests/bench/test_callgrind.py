"""What callgrind has counted is added up by function and library; what a call cost counts where it was spent."""

from tests.bench.callgrind import Place, own_costs
from tests.bench.instructions import library_of

DUMP = """version: 1
events: Ir

ob=(1) /usr/bin/python3.11
fl=(1) ???
fn=(1) PyLong_FromLong
0 30
fn=(2) eval
0 7
cob=(2) /site-packages/uvloop/loop.cpython-311-x86_64-linux-gnu.so
cfi=(2) stream.c
cfn=(3) uv__read
calls=2 0
0 5000
+3 2

ob=(2)
fl=(2)
fn=(3)
12 100
-4 11
* 1
fn=(1)
12 5
totals: 5156
"""


def test_own_costs() -> None:
    uvloop = "/site-packages/uvloop/loop.cpython-311-x86_64-linux-gnu.so"
    assert own_costs(DUMP.splitlines(keepends=True)) == {
        Place("/usr/bin/python3.11", "PyLong_FromLong"): 30,
        Place("/usr/bin/python3.11", "eval"): 9,
        Place(uvloop, "uv__read"): 112,
        Place(uvloop, "PyLong_FromLong"): 5,
    }


def test_libraries() -> None:
    assert library_of(Place("/x/gateway/proxy/steady_c.cpython-311-x86_64-linux-gnu.so", "f")) == "twins"
    assert library_of(Place("/usr/lib/python3.11/lib-dynload/_ssl.cpython-311-x86_64-linux-gnu.so", "f")) == "python"
    assert library_of(Place("/usr/lib/x86_64-linux-gnu/libcrypto.so.3", "f")) == "OpenSSL"
    assert library_of(Place("/usr/lib/x86_64-linux-gnu/libc.so.6", "f")) == "libc"
    assert library_of(Place("/usr/sbin/pgbouncer", "f")) == "other"
