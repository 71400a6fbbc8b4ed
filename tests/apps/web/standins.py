"""Films to upload, and a model that only enlarges and can be made slow."""

import time
from pathlib import Path

import av

from dgafvsr.apps.web.data_folder import DataFolder
from dgafvsr.apps.web.desk import Choice, Desk
from dgafvsr.apps.web.job_queue import JobQueue
from dgafvsr.apps.web.running import JobRunner
from dgafvsr.apps.web.settings import ServerSettings
from dgafvsr.apps.web.store import Store
from tests.apps.cli.films import EnlargingPipeline

EXAMPLE = Path(__file__).parents[3] / "examples" / "bigbuckbunny_320x180.mp4"
WIDTH, HEIGHT, FRAMES = 96, 56, 10
SOON = 60.0
HELD_SECONDS = 6.0


class SlowPipeline(EnlargingPipeline):
    """Takes so long for each unit of work, and HELD_SECONDS while the file `hold` exists."""

    def __init__(self, seconds=0.0, hold=None):
        super().__init__()
        self.seconds, self.hold = seconds, hold

    def __call__(self, frames, *, on_event, **options):
        def event(value):
            stop = time.monotonic() + HELD_SECONDS
            while self.hold is not None and self.hold.exists() and time.monotonic() < stop:
                time.sleep(0.05)
            time.sleep(self.seconds)
            on_event(value)

        return super().__call__(frames, on_event=event, **options)


def cut_example(path, frames=FRAMES):
    """The first frames of the example, made smaller."""
    with av.open(str(EXAMPLE)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for index, picture in enumerate(source.decode(video=0)):
            if index == frames:
                break
            pixels = picture.to_ndarray(format="rgb24", width=WIDTH, height=HEIGHT)
            target.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        target.mux(stream.encode(None))
    return path


def arrived(folder, source, name=None):
    """A file as gradio leaves what was uploaded: in a folder of its own among the uploads."""
    place = folder.uploads / "0123" / (name or source.name)
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(source.read_bytes())
    return place


def choice(**changes):
    """The controls as they are when nobody has touched them."""
    plain = {"start": 0.0, "stop": 99.0, "quality": "balanced", "scale": 4, "format": "MP4 (H.264)", "seed": 0}
    return Choice(**plain | changes)


class Workshop:
    """Everything behind the page, with a model that only enlarges."""

    def __init__(self, path, *, run=None, **settings):
        self.settings = ServerSettings(data=path, **settings)
        self.folder = DataFolder(path)
        self.pipeline = SlowPipeline()
        self._run = run

    def __enter__(self):
        self.folder.__enter__()
        self.store = Store(self.folder, keep_days=self.settings.keep_days)
        run = self._run or JobRunner(self.store, lambda: self.pipeline, self.settings.limits)
        self.queue = JobQueue(self.store, run, longest=self.settings.longest_queue)
        self.desk = Desk(self.store, self.queue, self.settings)
        self.queue.__enter__()
        return self

    def __exit__(self, *problem):
        self.queue.__exit__(*problem)
        self.folder.__exit__(*problem)

    def film(self, tmp_path, **options):
        """An uploaded film."""
        return self.desk.take(arrived(self.folder, cut_example(tmp_path / "clip.mp4", **options)))

    def until(self, job, *states):
        """The job once it is in one of the states."""
        stop = time.monotonic() + SOON
        while (found := self.store.job(job.id)).state not in states:
            assert time.monotonic() < stop, f"still {found.state}: {found.message}"
            time.sleep(0.01)
        return found
