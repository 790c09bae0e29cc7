"""The codec of Express's records follows the rules that coatcheck's own follows."""

from __future__ import annotations

from codecrules import JSONRules

from coatcheck_express import ExpressCodec


class TestExpressCodec(JSONRules):
    codec = ExpressCodec()
