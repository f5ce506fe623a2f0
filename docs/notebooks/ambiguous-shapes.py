# %% [markdown]
# # Ambiguous shapes, from data to scores
#
# A model learns how people disagree. Here we know the answer, because the data are synthetic: each annotator
# outlines a bright core and one of three lobes, the upper one in 40 of 100 cases, the next one in 35, the last one in 25.
# Does a trained model sample the three in these shares?
#
# ## Data

# %%
# %matplotlib inline
import matplotlib.pyplot as plt
import rich
import torch

import probseg
from probseg.plots import Annotated, Block, contact_sheet, sample_sheet

data = probseg.datasets.create("ambiguous-shapes", size=20, samples=1000)
train, validation, test = probseg.split(data)
print(f"{len(train)} images to train on, {len(validation)} to validate, {len(test)} to test")
print(f"{data.annotators} annotators, {data.channels} channel, {data.classes} classes")

# %% [markdown]
# A batch holds the images (B, C, H, W) and everybody's masks (B, A, H, W). Each colour below is one annotator.

# %% alt="Four shapes with a bright core and three lobes, and the outlines of four annotators"
batch = data.batch(range(4))
everybody = torch.ones(data.annotators, dtype=torch.bool).numpy()
panels = [
    Annotated(image[0].numpy(), masks.numpy(), everybody, f"image {number}")
    for number, (image, masks) in enumerate(zip(batch.image, batch.masks, strict=True))
]
contact_sheet(panels, ["1", "2", "3", "4"])

# %% [markdown]
# ## Model and training
#
# `like=data` takes the channels and the classes from the data. The network is small, so that a CPU trains it while you
# read. `class_prior` says how many of the pixels are foreground, roughly: training then starts from there.

# %%
small = {"channels": [8, 16], "convolutions": 1, "norm": "batch"}
model = probseg.build(
    "punet",
    like=data,
    latent_dim=2,
    beta=1,
    backbone={"name": "unet", **small},
    encoder={"name": "axis-aligned", **small},
    decoder={"name": "fcomb", "class_prior": [0.85, 0.15]},
)
run = probseg.fit(
    model,
    train,
    validation,
    batch_size=32,
    max_steps=320,
    validate_every=40,
    learning_rate=5e-3,
    schedule="cosine",
    augment=False,  # a turned image would have another upper lobe
    progress=False,
)
print(f"{run.steps} steps; the best weights are those of step {run.best_step}")

# %% [markdown]
# `run.history` has a record for each round of validation.

# %% alt="Two charts over the steps of training: the loss falls, the Gini index stays between 0 and 1"
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 2.8), layout="constrained")
steps = [record["step"] for record in run.history]
left.plot(steps, [record["train/loss"] for record in run.history], label="training")
left.plot(steps, [record["validation/loss"] for record in run.history], label="validation")
left.set(xlabel="step", title="loss")
left.legend(frameon=False)
right.plot(steps, [record["prior/gini"] for record in run.history])
right.set(xlabel="step", title="Gini index of the prior", ylim=(0, 1))
plt.show()

# %% [markdown]
# ## Samples
#
# `sample` returns probabilities (n, B, K, H, W). Each sample is one possible annotation. The first row shows the annotators, the second
# the model.

# %% alt="One image with four annotations in the first row and eight samples of the model in the second"
batch = test.batch(range(1))
samples = model.sample(batch.image, 8, generator=torch.Generator().manual_seed(0))[:, 0]
foreground = samples[:, 1]
block = Block(
    samples.argmax(1).numpy(),
    foreground.mean(0).numpy(),
    foreground.std(0, correction=0).numpy(),
)
sample_sheet(batch.image[0].numpy(), batch.masks[0].numpy(), {"punet": block})

# %% [markdown]
# ## Scores
#
# `evaluate` draws 16 samples of every test image and compares them with its annotations. An interval is a bootstrap interval of the mean.

# %%
scores = probseg.evaluate(model, test, n=16, progress=False)
rich.print(scores)

# %% [markdown]
# [Reading the metrics](../metrics.md) explains each of them. A mean says little about a single image:

# %% alt="Histogram of the energy distance of the test images"
plt.figure(figsize=(5, 2.5), layout="constrained")
plt.hist(scores["ged"], bins=25)
plt.xlabel("generalised energy distance of an image (lower is better)")
plt.ylabel("images")
plt.show()

# %% [markdown]
# ## Does it sample the right shares?
#
# Each sample is counted for the mode that it overlaps best.

# %% alt="Bars: the share of each lobe among annotators, and among samples"
images = range(60)
samples = model.sample(test.batch(images).image, 32, generator=torch.Generator().manual_seed(1))
modes = torch.stack([data.modes(test.indices[image]) for image in images]).bool()  # (B, M, H, W)
drawn = samples.argmax(2).bool()[:, :, None]  # (n, B, 1, H, W)
overlap = (drawn & modes).sum((-2, -1)) / (drawn | modes).sum((-2, -1))  # (n, B, M)
shares = overlap.argmax(-1).flatten().bincount(minlength=3) / overlap[..., 0].numel()

positions = torch.arange(3)
plt.figure(figsize=(5, 2.5), layout="constrained")
plt.bar(positions - 0.2, data.frequencies, width=0.4, label="annotators")
plt.bar(positions + 0.2, shares, width=0.4, label="samples")
plt.xticks(positions, ["upper lobe", "second", "third"])
plt.ylabel("share")
plt.legend(frameon=False)
plt.show()
print(f"mean overlap (IoU) of a sample with its mode: {overlap.amax(-1).mean():.2f}")

# %% [markdown]
# Samples of a Normal prior blend one mode into the next, so that the shares are close and not exact.
# [Method](../method.md) says why, and what a spline prior changes.
