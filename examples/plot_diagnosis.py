"""Why a trained memory errs: one state is split in two, and one of the two falls at a small kick."""

from esntools import diagnose, load_model
from esntools.plotting import plot_diagnosis

model = load_model("flipflop-split")
found = diagnose(model.network(), model.task())

print(found.summary)
for fault in found.faults:
    print(f"- {fault.kind}: {fault.text}")
for cause, (segments, steps) in found.causes.items():
    print(f"{cause}: {segments} wrong stretches, {steps} steps")
plot_diagnosis(found).figure.savefig("diagnosis.svg")
