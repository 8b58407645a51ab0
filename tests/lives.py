"""Campaign: a reply in a Durable Object that nobody reads. ``python -m tests.lives [SETTING…]`` prints JSON lines.

In each setting 100 short replies end, and their objects must be evicted within 11 s, which a pending timer would
prevent; 10 more leave one behind on purpose, and must not be. Then a client asks for a reply of 100 s and leaves at
once. For 90 s nothing is connected; then the reply is read, in full. ``--seconds 200`` is long enough for workerd to
evict every object that nothing holds.
"""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial

from testbed.workerd.rig import Rig
from tests.workerd.object_lives import IDLE_S, chat_alone, evictions, live_alone
from tests.workerd.workers import open_rig

SETTINGS = ("py314", "py313-2026-04-01")

SHARE_ALONE = 0.9
"""The part of its time for which the long reply has no reader."""

UNHELD = "waitUntil", "nothing"
"""Ways that are reported, and not judged: workerd evicts such an object 70 to 140 s after its last event."""

REPLIES = 100
CONTROLS = 10
WITHIN_S = IDLE_S + 1


def play(rig: Rig, reply_s: float) -> bool:
    """Run one setting; return whether every reply was whole, and every object evicted that had nothing to do."""
    alone_s = reply_s * SHARE_ALONE
    evictions(rig, "warm", replies=1, within_s=0)
    clear = evictions(rig, "clear", replies=REPLIES, within_s=WITHIN_S)
    with ThreadPoolExecutor() as threads:
        alone = partial(live_alone, rig, reply_s=reply_s, alone_s=alone_s)
        lives = {
            "DurableStreamObject": threads.submit(chat_alone, rig, "alone", reply_s=reply_s, alone_s=alone_s),
            "an alarm every 30 s": threads.submit(alone, "alarms", keep_alive=False, alarms=True),
            UNHELD[0]: threads.submit(alone, "waiting", keep_alive=True),
            UNHELD[1]: threads.submit(alone, "nothing", keep_alive=False),
        }
        control = evictions(rig, "control", replies=CONTROLS, within_s=WITHIN_S, leftover_s=2 * WITHIN_S)
    figures = {"replies": REPLIES, "evicted": clear.evicted, "pending timers": clear.pending}
    report(rig, {**figures, "replies with a timer": CONTROLS, "evicted of these": control.evicted})
    fine = (clear.evicted, clear.pending, control.evicted) == (REPLIES, 0, 0)
    for held_by, living in lives.items():
        life = living.result()
        report(rig, {"reply_s": reply_s, "held by": held_by, **asdict(life)})
        fine &= held_by in UNHELD or (life.state == "done" and life.whole and life.constructions == 1)
    return fine


def report(rig: Rig, figures: dict[str, object]) -> None:
    """Print one line of JSON."""
    print(json.dumps({"setting": rig.setting.label, **figures}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.lives", description=__doc__)
    parser.add_argument("settings", nargs="*", default=SETTINGS, help="such as py314-2026-04-01")
    parser.add_argument("--seconds", type=float, default=100, help="how long the long reply takes")
    options = parser.parse_args()
    fine = True
    for setting in options.settings:
        rig = open_rig(setting)
        rig.start()
        try:
            if not play(rig, options.seconds):
                fine = False
                print(rig.log(), file=sys.stderr)
        finally:
            rig.stop()
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
