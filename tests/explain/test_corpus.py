"""Every public manifest is explained, or refused with a reason."""

from __future__ import annotations

import json
from collections import Counter

from livenessprobe.explain import explain_objects
from livenessprobe.explain.objects import read_objects
from livenessprobe.flags.kinds import duration
from tests.explain.corpus import rows, wrapped
from tests.flags.test_corpus import with_corpus


@with_corpus
def test_every_manifest_is_explained_or_refused_with_a_reason() -> None:
    reasons: Counter[str] = Counter()
    for row in rows():
        data = json.dumps(wrapped(row)).encode()
        found = explain_objects(list(read_objects(data)), reference=True)
        assert len(found.explained) + len(found.skipped) == 1, row["path"]
        for each in found.skipped:
            reasons[" ".join(each.partition(": ")[2].split()[:6])] += 1
        for explanation in found.explained:
            case, probe = explanation.cases[0], explanation.probes["liveness"]
            assert explanation.container == row["probedContainer"]
            assert {
                name: number
                for name, number in probe.settings.items()
                if name not in probe.defaults
            } == {
                name: number
                for name, number in row["livenessProbe"].items()
                if name not in {"httpGet", "successThreshold"}
            }
            arguments = [*(row["command"] or ()), *(row["args"] or ())]
            for argument in arguments:
                if "probe-timeout=" in argument:
                    assert case.probe_timeout == duration(argument.partition("=")[2])
        printed = found.text()
        assert max(map(len, printed.splitlines())) <= 100
        assert printed.replace("\n", "").isprintable()
    assert reasons == {
        # The corpus does not know who is probed, in 73 of these.
        "no probe of the pod asks": 74,
        "its image is v0.2.0, older than": 1,
        "its image is v0.4.1, older than": 1,
        "its image is v1.0.2, older than": 1,
    }
