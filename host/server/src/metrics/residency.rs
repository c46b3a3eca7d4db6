//! The metrics of memory for models: the loaded models, the loads, and the models that have made room for others.

use super::page::{Kind, Page};
use wisp_serving::Serving;
use wisp_serving::residency::{ModelMemory, ModelResidency};

const BUDGET: &str = "wisp_loaded_models_max_bytes";

const BYTES: &str = "wisp_model_bytes";

const LOADS: &str = "wisp_model_loads_total";

const EVICTIONS: &str = "wisp_model_evictions_total";

const COLD_START: &str = "wisp_model_cold_start_seconds";

/// Writes the families, which have no samples if no models can be loaded.
pub(super) fn write(page: &mut Page, serving: &Serving) {
    if let Some(residency) = serving.residency() {
        write_memory(page, residency.memory());
        write_models(page, &residency.models());
    }
}

fn write_memory(page: &mut Page, memory: ModelMemory) {
    let ModelMemory {
        models,
        bytes,
        budget,
    } = memory;
    let help = "Models that are loaded";
    page.single(Kind::Gauge, ("wisp_loaded_models", help), models);
    let help = "Bytes that the loaded models hold together, and those reserved for loads";
    page.single(Kind::Gauge, ("wisp_loaded_models_bytes", help), bytes);
    page.family(
        Kind::Gauge,
        BUDGET,
        "Limit on the bytes of the loaded models",
    );
    if let Some(budget) = budget {
        page.sample(BUDGET, &[], budget);
    }
}

fn write_models(page: &mut Page, models: &[ModelResidency]) {
    let help = "Bytes that a loaded model holds, with those that it shares";
    page.family(Kind::Gauge, BYTES, help);
    for of in models {
        if let Some(bytes) = of.bytes {
            page.sample(BYTES, &[("model", of.model.as_str())], bytes);
        }
    }
    let help = "Loads of a model since the start of the server";
    page.family(Kind::Counter, LOADS, help);
    for of in models {
        page.sample(LOADS, &[("model", of.model.as_str())], of.loads.count);
    }
    let help = "Number of times that a model left memory to make room for another";
    page.family(Kind::Counter, EVICTIONS, help);
    for of in models {
        page.sample(EVICTIONS, &[("model", of.model.as_str())], of.evictions);
    }
    let help = "Time of the last load of a model, from the request that asked for it, in seconds";
    page.family(Kind::Gauge, COLD_START, help);
    for of in models.iter().filter(|of| of.loads.count > 0) {
        let seconds = of.loads.last.as_secs_f64();
        page.sample(COLD_START, &[("model", of.model.as_str())], seconds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use wisp_protocol::call::ModelName;
    use wisp_serving::residency::LoadTimes;

    #[test]
    fn a_model_without_a_load_has_no_cold_start() -> anyhow::Result<()> {
        let of = |name: &str, count: u64| -> anyhow::Result<ModelResidency> {
            Ok(ModelResidency {
                model: ModelName::new(name)?,
                bytes: (count > 0).then_some(64),
                loads: LoadTimes {
                    count,
                    last: Duration::from_millis(250),
                    longest: Duration::from_secs(1),
                },
                evictions: 3,
            })
        };
        let mut page = Page::default();
        write_models(&mut page, &[of("a", 0)?, of("b", 2)?]);
        let text = page.into_text();
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let expected = [
            "wisp_model_bytes{model=\"b\"} 64",
            "wisp_model_loads_total{model=\"a\"} 0",
            "wisp_model_loads_total{model=\"b\"} 2",
            "wisp_model_evictions_total{model=\"a\"} 3",
            "wisp_model_evictions_total{model=\"b\"} 3",
            "wisp_model_cold_start_seconds{model=\"b\"} 0.25",
        ];
        assert_eq!(samples, expected);
        Ok(())
    }
}
