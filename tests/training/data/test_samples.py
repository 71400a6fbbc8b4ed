from __future__ import annotations

import pickle

import pytest
import torch
from torch.utils.data import DataLoader

from dgafvsr.errors import InputError, UsageError
from dgafvsr.evaluation.degradations import reduce_bicubic
from dgafvsr.flow.dis import DISFlow
from dgafvsr.sampling.ogwm import warp
from dgafvsr.training.data.augmentation import Augmentation
from dgafvsr.training.data.clips import ClipLibrary
from dgafvsr.training.data.library import open_data
from dgafvsr.training.data.motion import MotionRanges
from dgafvsr.training.data.photos import PhotoLibrary
from dgafvsr.training.data.samples import PictureSamples, SequenceSamples, SequenceSettings


def sequences(folder, *, seed: int = 0, **settings) -> SequenceSamples:
    chosen = SequenceSettings(frames=3, side=64, motion=MotionRanges(shift_px=3), **settings)
    return SequenceSamples(
        PhotoLibrary(folder / "photos"), ClipLibrary(folder / "videos"), DISFlow(), chosen, seed=seed
    )


@pytest.mark.parametrize("clip_share", [0.0, 1.0])
def test_sequences_depend_on_seed_and_index_alone(data_folder, clip_share):
    used, fresh = (sequences(data_folder, clip_share=clip_share) for _ in range(2))
    for index in (0, 1, 2):
        used[index]
    first, again = used[7], fresh[7]
    assert all(torch.equal(first[key], again[key]) for key in first)
    other = sequences(data_folder, clip_share=clip_share, seed=1)[7]
    assert not torch.equal(first["hr"], other["hr"])
    assert [tuple(first[key].shape) for key in ("hr", "lr", "flow")] == [(3, 3, 64, 64), (3, 3, 16, 16), (2, 2, 64, 64)]


def test_exact_flow_carries_each_frame_to_the_next(data_folder):
    data = sequences(data_folder, clip_share=0.0, exact_flow_share=1.0)
    for index in range(3):
        sample = data[index]
        carried = warp(sample["hr"][:-1], sample["flow"], "centered")
        error = (carried - sample["hr"][1:])[..., 16:-16, 16:-16].abs().mean()
        assert error < 0.6 * (sample["hr"][:-1] - sample["hr"][1:])[..., 16:-16, 16:-16].abs().mean() + 0.02


def test_pictures_are_pairs_of_hr_and_its_reduction(data_folder):
    data = PictureSamples(PhotoLibrary(data_folder / "photos"), side=40, fault_share=0.0)
    sample = data[3]
    assert sample["hr"].shape == (3, 40, 40)
    expected = reduce_bicubic(sample["hr"][None] / 2 + 0.5) * 2 - 1
    torch.testing.assert_close(sample["lr"][None], expected, atol=1e-5, rtol=0)
    assert torch.equal(sample["lr"], data[3]["lr"])


def test_sides_must_fit_the_factor(data_folder):
    with pytest.raises(UsageError, match="multiple of 4"):
        PictureSamples(PhotoLibrary(data_folder / "photos"), side=42)
    with pytest.raises(UsageError, match="multiple of 4"):
        SequenceSettings(side=2)


def united(folder, cls, **settings):
    """Samples of everything in a folder."""
    data = open_data(folder)
    if cls is PictureSamples:
        return PictureSamples(data.pictures, side=32, realistic_share=0.1, augmentation=JITTER)
    chosen = SequenceSettings(
        frames=3, side=48, clip_share=0.5, realistic_share=0.1, reliability=True, augmentation=JITTER, **settings
    )
    return SequenceSamples(data.pictures, data.clips, DISFlow(), chosen)


JITTER = Augmentation(jitter_share=0.5, max_stride=2)


def loaded(data, batches, *, workers: int, method: str | None = None) -> dict[int, dict[str, torch.Tensor]]:
    """Samples by index, through a DataLoader."""
    loader = DataLoader(data, batch_sampler=batches, num_workers=workers, multiprocessing_context=method)
    samples = {}
    for indices, batch in zip(batches, loader, strict=True):
        samples |= {index: {key: batch[key][place] for key in batch} for place, index in enumerate(indices)}
    return samples


@pytest.mark.parametrize(
    ("cls", "workers", "method"),
    [
        (PictureSamples, 2, "fork"),
        (SequenceSamples, 2, "fork"),
        pytest.param(SequenceSamples, 1, "spawn", marks=pytest.mark.slow),
    ],
)
def test_samples_do_not_depend_on_the_workers(data_folder, cls, workers, method):
    batches = [[4, 5], [0, 7], [6, 1]]
    used = united(data_folder, cls)
    used[99]  # something is decoded and kept before the fork
    expected = {index: used[index] for batch in batches for index in batch}
    found = loaded(used, batches, workers=workers, method=method)
    assert found.keys() == expected.keys()
    for index, sample in expected.items():
        assert all(torch.equal(sample[key], found[index][key]) for key in sample)


@pytest.mark.parametrize("cls", [PictureSamples, SequenceSamples])
def test_pickled_samples_are_the_same(data_folder, cls):
    samples = united(data_folder, cls)
    expected = samples[3]
    again = pickle.loads(pickle.dumps(samples))[3]  # noqa: S301
    assert all(torch.equal(expected[key], again[key]) for key in expected)


def test_processes_share_the_samples_without_repeats(data_folder):
    # What the trainer does: process p of P takes its own stretch of each step's indices.
    shares = [[[step * 4 + 2 * process, step * 4 + 2 * process + 1] for step in range(2)] for process in range(2)]
    apart = [loaded(united(data_folder, PictureSamples), batches, workers=1) for batches in shares]
    assert not apart[0].keys() & apart[1].keys()
    whole = loaded(united(data_folder, PictureSamples), [list(range(8))], workers=0)
    for index, sample in {**apart[0], **apart[1]}.items():
        assert torch.equal(sample["hr"], whole[index]["hr"])
    pictures = {sample["hr"].numpy().tobytes() for sample in whole.values()}
    assert len(pictures) == 8


def test_what_a_worker_cannot_read_is_known_in_the_training_process(data_folder, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"x")
    data = open_data([data_folder, tmp_path])
    loaded(PictureSamples(data.pictures, side=32), [list(range(16))], workers=1)
    assert [problem.source for problem in data.problems] == [str(tmp_path / "broken.png")]


@pytest.mark.parametrize(("clip_share", "exact"), [(0.0, 1.0), (0.0, 0.0), (1.0, 0.0)])
def test_backward_flow_and_reliability_are_optional(data_folder, clip_share, exact):
    chosen = {"clip_share": clip_share, "exact_flow_share": exact, "fault_share": 0.0}
    plain = sequences(data_folder, **chosen)[2]
    more = sequences(data_folder, flow_backward=True, reliability=True, **chosen)[2]
    assert plain.keys() == {"hr", "lr", "flow"}
    assert more.keys() == {"hr", "lr", "flow", "flow_backward"}
    assert all(torch.equal(plain[key], more[key]) for key in ("hr", "lr"))
    assert torch.equal(plain["flow"], more["flow"][:, :2])
    assert more["flow_backward"].shape == (2, 2, 64, 64)
    assert more["flow"].shape == (2, 3, 64, 64)
    assert set(more["flow"][:, 2].unique().tolist()) <= {0.0, 1.0}


def test_exact_flow_is_reliable_but_for_what_is_covered_or_comes_in(data_folder):
    data = sequences(data_folder, clip_share=0.0, exact_flow_share=1.0, fault_share=0.0, reliability=True)
    errors, trusted = [], []
    for index in range(12):
        sample = data[index]
        trusted.append(sample["flow"][:, 2].bool())
        errors.append((warp(sample["hr"][:-1], sample["flow"][:, :2], "centered") - sample["hr"][1:]).abs().mean(1))
    error, mask = torch.stack(errors), torch.stack(trusted)
    assert 0.7 < mask.float().mean() < 1
    assert error[mask].mean() < 0.2 * error[~mask].mean()


def test_backward_flow_carries_each_frame_back(data_folder):
    data = sequences(data_folder, clip_share=0.0, exact_flow_share=1.0, flow_backward=True)
    for index in range(3):
        sample = data[index]
        error = (warp(sample["hr"][1:], sample["flow_backward"], "centered") - sample["hr"][:-1])[..., 16:-16, 16:-16]
        still = (sample["hr"][1:] - sample["hr"][:-1])[..., 16:-16, 16:-16].abs().mean()
        assert error.abs().mean() < 0.6 * still + 0.02


def test_seven_frames(data_folder):
    settings = SequenceSettings(frames=7, side=64, clip_share=0.5, reliability=True)
    data = open_data(data_folder)
    samples = SequenceSamples(data.pictures, data.clips, DISFlow(), settings)
    for index in range(4):
        sample = samples[index]
        assert sample["hr"].shape == (7, 3, 64, 64)
        assert sample["flow"].shape == (6, 3, 64, 64)


def test_clips_alone_make_sequences_of_both_kinds(data_folder):
    clips = open_data(data_folder / "videos")
    settings = SequenceSettings(frames=2, side=48, clip_share=0.5, exact_flow_share=1.0)
    samples = SequenceSamples(clips.pictures, clips.clips, DISFlow(), settings)
    assert {tuple(samples[index]["hr"].shape) for index in range(6)} == {(2, 3, 48, 48)}


def test_no_photographs_means_real_motion_only(data_folder):
    settings = SequenceSettings(frames=2, side=48, clip_share=0.0)
    clips = ClipLibrary(data_folder / "videos")
    assert SequenceSamples(PhotoLibrary([]), clips, DISFlow(), settings)[0]["hr"].shape == (2, 3, 48, 48)
    with pytest.raises(InputError, match="no training data"):
        SequenceSamples(PhotoLibrary([]), ClipLibrary([]), DISFlow(), settings)


def test_pictures_smaller_than_the_crop_are_mirrored(data_folder):
    sample = PictureSamples(open_data(data_folder).pictures, side=256)[0]
    assert sample["hr"].shape == (3, 256, 256)


def test_realistic_degradation_is_stronger_than_none(data_folder):
    photos = PhotoLibrary(data_folder / "photos")
    plain, realistic = (PictureSamples(photos, side=64, fault_share=0.0, realistic_share=share) for share in (0.0, 1.0))
    differences = [(plain[index]["lr"] - realistic[index]["lr"]).abs().mean() for index in range(4)]
    assert min(differences) > 0.01


@pytest.mark.parametrize("wrong", [{"frames": 1}, {"frames": 17}, {"clip_share": 1.5}, {"realistic_share": -0.1}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(UsageError, match="out of range"):
        SequenceSettings(**wrong)
