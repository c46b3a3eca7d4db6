//! The metrics of back-pressure: the memory of the process, its limit, and the stage that follows.

use super::page::{Kind, Page};
use wisp_serving::memory_pressure::{MemoryPressure, PressureStage};

const STAGES: &str = "wisp_memory_pressure_stages_total";

/// Writes the families, which have no samples if the process has no memory limit.
pub(super) fn write(page: &mut Page, pressure: &MemoryPressure) {
    let Some(limit) = pressure.limit() else {
        return;
    };
    let help = "Resident memory that the process should stay below";
    page.single(Kind::Gauge, ("wisp_memory_limit_bytes", help), limit);
    let help = "Resident memory of the process when it was last compared with its limit";
    page.single(
        Kind::Gauge,
        ("wisp_memory_used_bytes", help),
        pressure.used(),
    );
    let help = "Stage of memory pressure: 0 normal, 1 shrink, 2 refuse_large, 3 refuse_all";
    let stage = pressure.stage();
    let position = PressureStage::ALL.iter().position(|of| *of == stage);
    page.single(
        Kind::Gauge,
        ("wisp_memory_pressure_stage", help),
        position.unwrap_or_default(),
    );
    page.family(
        Kind::Counter,
        STAGES,
        "Times that a stage of memory pressure was entered",
    );
    for stage in PressureStage::ALL {
        page.sample(STAGES, &[("stage", stage.name())], pressure.entered(stage));
    }
    let help = "Inferences and loads refused for lack of memory of the process";
    page.single(
        Kind::Counter,
        ("wisp_memory_pressure_refusals_total", help),
        pressure.refused(),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stage_is_a_number_and_each_stage_has_a_counter() {
        let pressure = MemoryPressure::new(Some(100));
        pressure.observe(91);
        let mut page = Page::default();
        write(&mut page, &pressure);
        let text = page.into_text();
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let expected = [
            "wisp_memory_limit_bytes 100",
            "wisp_memory_used_bytes 91",
            "wisp_memory_pressure_stage 2",
            "wisp_memory_pressure_stages_total{stage=\"normal\"} 0",
            "wisp_memory_pressure_stages_total{stage=\"shrink\"} 0",
            "wisp_memory_pressure_stages_total{stage=\"refuse_large\"} 1",
            "wisp_memory_pressure_stages_total{stage=\"refuse_all\"} 0",
            "wisp_memory_pressure_refusals_total 0",
        ];
        assert_eq!(samples, expected);
    }

    #[test]
    fn a_process_without_a_limit_has_no_samples() {
        let mut page = Page::default();
        write(&mut page, &MemoryPressure::new(None));
        assert_eq!(page.into_text(), "");
    }
}
