from fractions import Fraction

from dgafvsr.video.clock import Clock


def test_stated_times_are_kept():
    clock = Clock(tick=Fraction(1, 1000), frame_rate=Fraction(24))
    assert [clock.place(pts, None, 40)[0] for pts in (-7, 0, 1, 900)] == [-7, 0, 1, 900]
    assert clock.warnings == ()


def test_missing_times_follow_the_frame_rate_without_drift():
    clock = Clock(tick=Fraction(1, 1000), frame_rate=Fraction(24))
    times = [clock.place(5 if k == 0 else None, None, None)[0] for k in range(25)]
    assert times[24] == 1005  # 24 frames of 41.67 ms; adding 42 each time would give 1013
    assert "24 frames had no timestamp" in clock.warnings[0]


def test_backward_times_are_derived_and_named():
    clock = Clock(tick=Fraction(1, 24), frame_rate=Fraction(24))
    assert [clock.place(pts, None, 1)[0] for pts in (0, 1, 1, 3)] == [0, 1, 2, 3]
    assert "1 frames had a timestamp that runs backwards" in clock.warnings[0]


def test_decoding_order_is_counted_from_the_first():
    clock = Clock(tick=Fraction(1, 24), frame_rate=Fraction(24), by_decoding_order=True)
    assert [clock.place(junk, dts, 1)[0] for junk, dts in ((4, 2), (1, 3), (9, 5))] == [0, 1, 3]


def test_durations_cut_to_whole_ticks_are_given_back():
    clock = Clock(tick=Fraction(1, 1000), frame_rate=Fraction(24))
    assert [clock.place(k, None, duration)[1] for k, duration in enumerate((41, None, 0, 80))] == [42, 42, 42, 80]
