from fractions import Fraction

import av
import pytest

from dgafvsr.video.copy_times import RisingTimes


def placed(rows, *, strictly=True, tick=Fraction(1, 1000)):
    """(dts, pts) of packets given as (dts, pts, duration)."""
    times, found = RisingTimes(strictly=strictly), []
    for dts, pts, duration in rows:
        packet = av.Packet(b"x")
        packet.time_base, packet.dts, packet.pts, packet.duration = tick, dts, pts, duration
        times.place(packet)
        found.append((packet.dts, packet.pts))
    return found, times.jumps


def test_rising_times_are_kept():
    rows = [(-20, -20, 24), (4, 30, 24), (28, 28, 0), (9000, 9000, 24)]
    assert placed(rows) == ([row[:2] for row in rows], 0)


def test_joined_recording_goes_on_at_the_end_and_keeps_its_distances():
    rows = [(5000, 5000, 24), (5024, 5024, 24), (0, 10, 24), (30, 40, 24), (0, 0, 24)]
    assert placed(rows) == ([(5000, 5000), (5024, 5024), (5048, 5058), (5078, 5088), (5079, 5079)], 1)
    again = [(5000, 5000, 24), (0, 0, 24), (2000, 2000, 24), (0, 0, 24)]
    assert placed(again) == ([(5000, 5000), (5024, 5024), (7024, 7024), (7048, 7048)], 2)


@pytest.mark.parametrize(("strictly", "second"), [(True, 101), (False, 100)])
def test_packet_that_is_late_by_little_takes_the_first_free_time(strictly, second):
    rows = [(100, 100, 20), (100, 100, 20), (120, 120, 20)]
    assert placed(rows, strictly=strictly) == ([(100, 100), (second, second), (120, 120)], 0)


def test_packet_without_a_time_of_showing_stays_so():
    assert placed([(3, None, 1), (2, None, 1)]) == ([(3, None), (4, None)], 0)
