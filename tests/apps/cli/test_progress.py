import io

from rich.console import Console

from dgafvsr.apps.cli.progress import EvaluationBar, TrainBar, UpscaleBar
from dgafvsr.evaluation.runner import EvaluationProgress
from dgafvsr.jobs.progress import UpscaleProgress
from dgafvsr.training.trainer import StepReport


def terminal():
    return Console(file=io.StringIO(), force_terminal=True, width=120)


def report(stage, step):
    return StepReport(
        stage=stage, step=step, steps=4, losses={"loss": 0.25}, gradient_norm=1, learning_rate=1, seconds_per_step=1
    )


def test_work_and_frames_are_shown():
    console = terminal()
    with UpscaleBar("upscaling", console) as bar:
        bar(UpscaleProgress(frames_done=3, frames_total=10, work_done=6, work_total=20))
    assert "30%" in console.file.getvalue()
    assert "3/10 frames" in console.file.getvalue()
    assert "ETA" in console.file.getvalue()


def test_phases_that_sample_nothing_have_a_share_of_their_own():
    console = terminal()
    with UpscaleBar("upscaling", console) as bar:
        bar(UpscaleProgress(frames_done=10, frames_total=10, work_done=20, work_total=20))
        bar(
            UpscaleProgress(
                frames_done=10, frames_total=10, work_done=20, work_total=20, phase="assembling", phase_share=0.25
            )
        )
    last = console.file.getvalue().rpartition("assembling")[2]
    assert "25%" in last
    assert "10/10 frames" in last


def test_unknown_length_is_shown_as_such():
    console = terminal()
    with UpscaleBar("upscaling", console) as bar:
        bar(UpscaleProgress(frames_done=3, frames_total=None, work_done=6, work_total=None))
    assert "3/? frames" in console.file.getvalue()


def test_each_training_stage_starts_anew():
    console = terminal()
    with TrainBar("preparing", console) as bar:
        bar(report("autoencoder", 4))
        bar(report("denoiser/velocity", 1))
    text = console.file.getvalue()
    assert "denoiser/velocity" in text
    assert "25%" in text
    assert "loss 0.25" in text


def test_scored_pictures_are_shown():
    console = terminal()
    with EvaluationBar("scoring", console) as bar:
        bar(EvaluationProgress(done=1, total=4, clip="city"))
    assert "25%" in console.file.getvalue()
    assert "city" in console.file.getvalue()


def test_nothing_is_drawn_into_a_log():
    console = Console(file=io.StringIO(), force_terminal=False)
    with UpscaleBar("upscaling", console) as bar:
        bar(UpscaleProgress(frames_done=3, frames_total=10, work_done=6, work_total=20))
    assert console.file.getvalue().strip() == ""
