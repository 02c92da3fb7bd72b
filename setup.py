"""Only what pyproject.toml cannot say: the compiled twins of the hottest modules (see gateway/compiled.py).

Where no C compiler is at hand they are left out, and the gateway goes without.
"""

from setuptools import Extension, setup

TWINS = (
    "gateway.session.tally_c",
    "gateway.wire.framing_c",
    "gateway.statements.shape_c",
    "gateway.proxy.audit_lines_c",
    "gateway.proxy.audit_journal_c",
    "gateway.proxy.steady_c",
    "gateway.proxy.tls_flow_c",
)

setup(ext_modules=[Extension(name, [f"{name.replace('.', '/')}.pyx"], optional=True) for name in TWINS])
