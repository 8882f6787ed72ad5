"""Has the network learned the attractor, or only something that looks like it?"""

from esntools import compare_attractors, fit
from esntools.plotting import plot_attractor_comparison
from esntools.systems import lorenz63

data = lorenz63().trajectory(4000, dt=0.05)
learned = fit(
    data, n_units=200, spectral_radius=0.4, leak_rate=0.5, input_scaling=0.5, bias_scaling=1.0, dt=0.05, rng=1
)
run = learned.forecast(4000).outputs

comparison = compare_attractors(data, run, dt=0.05)
print("the network's free run:", comparison.verdict)
for measure in comparison.measures.values():
    if measure.distance is None or measure.allowed is None:
        print(f"  {measure.name}: {measure.note}")
    else:
        print(f"  {measure.name}: {measure.distance:.3g} of {measure.allowed:.3g} allowed")

# The mirror image has the same spectrum and the same exponents.
print("its mirror image:", compare_attractors(data, -run, n_landmarks=50).reasons[0])

plot_attractor_comparison(comparison).figure.savefig("attractor_comparison.svg")
