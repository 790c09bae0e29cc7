"""The codec of Express's records follows the same rules as coatcheck's own codec."""

from __future__ import annotations

from codecrules import JSONRules

from coatcheck_express import ExpressCodec


class TestExpressCodec(JSONRules):
    codec = ExpressCodec()
