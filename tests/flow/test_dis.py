import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dgafvsr.errors import InputError, UsageError
from dgafvsr.flow.dis import DISFlow, _luma


def texture(height, width, seed=0):
    noise = torch.rand(1, 3, height // 4 + 1, width // 4 + 1, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(noise, size=(height, width), mode="bicubic").clamp(0, 1)


@pytest.mark.parametrize(("dx", "dy"), [(3, 0), (0, -2), (-4, 3)])
def test_translation_is_recovered_with_its_sign_in_both_directions(dx, dy):
    scene = texture(120, 160)
    current = scene[..., 10:106, 20:148]
    neighbor = scene[..., 10 - dy : 106 - dy, 20 - dx : 148 - dx]  # what is at p in current is at p + (dx, dy) here
    inner = (..., slice(16, -16), slice(16, -16))
    there = DISFlow()(current, neighbor)[inner].mean(dim=(0, 2, 3))
    back = DISFlow()(neighbor, current)[inner].mean(dim=(0, 2, 3))
    expected = torch.tensor([dx, dy], dtype=torch.float32)
    torch.testing.assert_close(there, expected, atol=0.1, rtol=0)
    torch.testing.assert_close(back, -expected, atol=0.1, rtol=0)


@pytest.mark.parametrize("preset", ["ultrafast", "fast", "medium"])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 9), (13, 70), (64, 65), (37, 251)])
def test_any_size_works(preset, height, width):
    flow = DISFlow(preset)(torch.rand(2, 3, height, width), torch.rand(2, 3, height, width))
    assert flow.shape == (2, 2, height, width)
    assert flow.dtype == torch.float32
    assert flow.isfinite().all()


def test_result_depends_neither_on_threads_nor_on_earlier_calls():
    current, neighbor = texture(144, 176), texture(144, 176).roll((2, 3), (2, 3))
    before = cv2.getNumThreads()
    flows = []
    try:
        for threads in (1, 2, 5):
            cv2.setNumThreads(threads)
            estimator = DISFlow()
            flows += [estimator(current, neighbor), estimator(current, neighbor)]
    finally:
        cv2.setNumThreads(before)
    assert all(torch.equal(flow, flows[0]) for flow in flows)


def test_values_outside_the_range_are_clamped():
    current, neighbor = texture(80, 90), texture(80, 90, seed=1)
    over = torch.where(current > 0.95, 7.0, current)
    assert torch.equal(DISFlow()(over, neighbor), DISFlow()(torch.where(current > 0.95, 1.0, current), neighbor))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize(("height", "width"), [(5, 9), (13, 70), (66, 71)])
def test_luma_is_that_of_frames_padded_as_bytes(height, width, dtype):
    frames = (torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(2)) * 1.2 - 0.1).to(dtype)
    levels = (frames.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    missing = [(0, 0), (0, max(64 - height, 0)), (0, max(64 - width, 0)), (0, 0)]
    expected = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in np.pad(levels, missing, mode="edge")]
    np.testing.assert_array_equal(_luma(frames), expected)


def test_batch_equals_single_pairs():
    current, neighbor = texture(70, 90).repeat(2, 1, 1, 1), torch.cat([texture(70, 90).roll(k, 3) for k in (1, 3)])
    both = DISFlow()(current, neighbor)
    assert torch.equal(both[1:], DISFlow()(current[1:], neighbor[1:]))


def test_unknown_preset_names_the_presets():
    with pytest.raises(UsageError, match="medium"):
        DISFlow("slow")


@pytest.mark.parametrize(
    ("current", "neighbor"),
    [
        (torch.zeros(1, 3, 8, 9), torch.zeros(1, 3, 9, 8)),
        (torch.zeros(1, 1, 8, 9), torch.zeros(1, 1, 8, 9)),
        (torch.zeros(3, 8, 9), torch.zeros(3, 8, 9)),
        (torch.zeros(1, 3, 8, 9, dtype=torch.uint8), torch.zeros(1, 3, 8, 9, dtype=torch.uint8)),
    ],
)
def test_frames_that_do_not_fit_are_refused(current, neighbor):
    with pytest.raises(InputError, match="N 3 H W"):
        DISFlow()(current, neighbor)
