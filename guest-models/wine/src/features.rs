//! The features of the wine model, in the order of the graph's columns.
//!
//! Written by `examples/wine/train.py`: do not edit, run that again.

/// One column: `mean` and `std` standardise it, outside `min..=max` it is absurd.
#[derive(Debug)]
pub(crate) struct Feature {
    pub(crate) name: &'static str,
    pub(crate) mean: f32,
    pub(crate) std: f32,
    pub(crate) min: f32,
    pub(crate) max: f32,
}

// A row each, whatever the width of lines: a table is read by its columns.
#[rustfmt::skip]
pub(crate) const FEATURES: [Feature; 13] = [
    Feature { name: "alcohol", mean: 13.0222, std: 0.810366, min: 0.0, max: 25.0 },
    Feature { name: "malic_acid", mean: 2.32774, std: 1.14435, min: 0.0, max: 20.0 },
    Feature { name: "ash", mean: 2.37654, std: 0.279064, min: 0.1, max: 15.0 },
    Feature { name: "alcalinity_of_ash", mean: 19.6692, std: 3.47715, min: 1.0, max: 100.0 },
    Feature { name: "magnesium", mean: 98.985, std: 13.8113, min: 5.0, max: 1000.0 },
    Feature { name: "total_phenols", mean: 2.30489, std: 0.608713, min: 0.0, max: 20.0 },
    Feature { name: "flavanoids", mean: 2.02985, std: 1.02027, min: 0.0, max: 20.0 },
    Feature { name: "nonflavanoid_phenols", mean: 0.366692, std: 0.119509, min: 0.0, max: 5.0 },
    Feature { name: "proanthocyanins", mean: 1.60759, std: 0.594726, min: 0.0, max: 20.0 },
    Feature { name: "color_intensity", mean: 5.03113, std: 2.32711, min: 0.0, max: 60.0 },
    Feature { name: "hue", mean: 0.955789, std: 0.221238, min: 0.0, max: 10.0 },
    Feature { name: "od280_od315", mean: 2.60526, std: 0.686974, min: 0.0, max: 10.0 },
    Feature { name: "proline", mean: 754.195, std: 323.595, min: 1.0, max: 10000.0 },
];
