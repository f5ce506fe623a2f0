# %% [markdown]
# # My own data, step by step
#
# From files on disk to a model that draws outlines as your annotators would. The data here are made up, so that this page runs
# anywhere. Replace `my-data` by your folder, and leave the next cell out.

# %%
from pathlib import Path

import numpy as np
from PIL import Image

root, random = Path("my-data"), np.random.default_rng(0)
y, x = np.mgrid[:40, :40]
for case in range(80):
    row, column, radius = random.uniform((16, 16, 5), (24, 24, 10))
    distance = np.hypot(y - row, x - column)
    image = 200 / (1 + np.exp(distance - radius)) + random.uniform(0, 40, (40, 40))
    files = {root / f"images/case{case:02}.png": image}
    for name, reach in {"anna": 0.7, "ben": 1.0, "chen": 1.3}.items():
        files[root / f"masks/case{case:02}/{name}.png"] = 255 * (distance < reach * radius)
    for path, pixels in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(path)

(root / "masks/case01/ben.png").unlink()  # Ben did not look at this one
print(*sorted(root.glob("*/case00*")), *sorted(root.glob("masks/case00/*")), sep="\n")

# %% [markdown]
# An image has one file, and each annotator of it one mask. [My own data](../own-data.md) tells the rules.
#
# ## Look at it
#
# `create` reads the folder once and packs it. It names whatever it cannot read.

# %%
# %matplotlib inline
import probseg

data = probseg.datasets.create("folder", root="my-data", progress=False)
names = data.source_state["annotators"]
print(f"{len(data)} images, {data.channels} channel, {data.classes} classes, annotators: {names}")
print("annotated by:", dict(zip(names, data.present.sum(0).tolist(), strict=True)))

# %% alt="Four grey blobs, each with the outlines of Anna, Ben and Chen; Ben is absent from the second"
from probseg.plots import Annotated, contact_sheet

batch = data.batch(range(4))
panels = [
    Annotated(image[0].numpy(), masks.numpy(), present.numpy(), f"image {number}")
    for number, (image, masks, present) in enumerate(
        zip(batch.image, batch.masks, batch.present, strict=True)
    )
]
contact_sheet(panels, names)

# %% [markdown]
# Anna draws tight outlines, Chen wide ones. That is the disagreement to learn.
#
# ## Train
#
# `split` puts an image, or all images of a patient if there is a `groups.csv`, in one part only.

# %%
train, validation, test = probseg.split(data)
small = {"channels": [8, 16], "convolutions": 1, "norm": "batch"}
model = probseg.build(
    "punet",
    like=data,
    latent_dim=2,
    beta=1,
    backbone={"name": "unet", **small},
    encoder={"name": "axis-aligned", **small},
    decoder={"name": "fcomb", "class_prior": [0.8, 0.2]},
)
run = probseg.fit(
    model,
    train,
    validation,
    out="run",
    batch_size=8,
    max_steps=240,
    validate_every=40,
    learning_rate=5e-3,
    schedule="cosine",
    progress=False,
)
print(
    f"validation loss {run.history[0]['validation/loss']:.0f} after {run.history[0]['step']} steps,"
)
print(f"{run.best_validation_loss:.0f} at the best, after {run.best_step}")

# %% [markdown]
# The folder `run` holds the model. The command `probseg train punet --data my-data --out run` does all of this by itself.
#
# ## Samples
#
# The first row shows the annotators, the second samples of the model, for an image that it has not seen.

# %% alt="One image with three annotations in the first row and eight samples of the model in the second, tight ones and wide ones"
import torch

from probseg.plots import Block, sample_sheet

batch = test.batch([0])
samples = model.sample(batch.image, 8, generator=torch.Generator().manual_seed(0))[:, 0]
foreground = samples[:, 1]
block = Block(
    samples.argmax(1).numpy(),
    foreground.mean(0).numpy(),
    foreground.std(0, correction=0).numpy(),
)
sample_sheet(batch.image[0].numpy(), batch.masks[0].numpy(), {"punet": block})

# %% [markdown]
# Do the samples cover the sizes that the annotators draw?

# %% alt="Areas of annotations and of samples on ten test images; the samples spread over the annotations, a few lie below"
import matplotlib.pyplot as plt

images = range(10)
batch = test.batch(images)
samples = model.sample(batch.image, 24, generator=torch.Generator().manual_seed(1)).argmax(2)
plt.figure(figsize=(7, 3), layout="constrained")
for image in images:
    drawn = batch.masks[image][batch.present[image]].sum((1, 2))
    sampled = samples[:, image].sum((1, 2))
    plt.plot([image - 0.12] * len(drawn), drawn, "o", color="#D55E00")
    plt.plot([image + 0.12] * len(sampled), sampled, "_", color="#0072B2")
plt.plot([], [], "o", color="#D55E00", label="an annotator")
plt.plot([], [], "_", color="#0072B2", label="a sample")
plt.xlabel("test image")
plt.ylabel("area in pixels")
plt.legend(frameon=False)
plt.show()

# %% [markdown]
# ## Scores

# %%
import rich

scores = probseg.evaluate(model, test, n=16, progress=False)
rich.print(scores)

# %% [markdown]
# [Reading the metrics](../metrics.md) explains them. Ben's missing mask was not scored: absent is not empty.
#
# The worst images deserve a look:

# %%
for image in np.argsort(scores["ged"])[::-1][:3]:
    print(f"{test.groups[image]}: energy distance {scores['ged'][image]:.2f}")
scores.to_csv("scores.csv")

# %% [markdown]
# ## Take it along

# %%
model.save("my-model.safetensors")
model = probseg.load("my-model.safetensors")

# %% [markdown]
# `probseg predict my-model.safetensors IMAGES --out predicted` writes samples of other images.
