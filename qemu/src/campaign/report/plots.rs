//! The report's plots, as SVG.

use plotters::prelude::*;

use super::tables::{Latency, Tables};
use crate::campaign::outcome::Outcome;
use crate::error::{Error, Result};

/// An outcome's colour: greens for what the guest did not notice, then towards red.
fn colour(outcome: Outcome) -> RGBColor {
    match outcome {
        Outcome::NotActivated => RGBColor(190, 190, 190),
        Outcome::Masked => RGBColor(140, 200, 140),
        Outcome::Recovered => RGBColor(40, 150, 70),
        Outcome::Degraded => RGBColor(240, 220, 90),
        Outcome::Quarantined => RGBColor(240, 180, 70),
        Outcome::SilentCorruption => RGBColor(220, 110, 40),
        Outcome::GuestHang => RGBColor(200, 60, 60),
        Outcome::GuestCrash => RGBColor(150, 20, 40),
        Outcome::HypervisorCrash => RGBColor(0, 0, 0),
        Outcome::HarnessError => RGBColor(90, 60, 160),
    }
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::program("the plot", error)
}

/// Outcomes as shares of runs, one bar for each fault and server.
pub(super) fn outcomes(tables: &Tables<'_>) -> Result<String> {
    let bars: Vec<_> = tables.cells.iter().collect();
    let mut svg = String::new();
    {
        let height = 90 + 18 * bars.len() as u32;
        let root = SVGBackend::with_string(&mut svg, (960, height)).into_drawing_area();
        root.fill(&WHITE).map_err(failed)?;
        let mut chart = ChartBuilder::on(&root)
            .margin(10)
            .x_label_area_size(30)
            .y_label_area_size(300)
            .build_cartesian_2d(0.0..1.0, 0.0..bars.len() as f64)
            .map_err(failed)?;
        let label = |place: &f64| {
            let bar = bars.get(place.floor() as usize);
            bar.map_or_else(String::new, |((phase, fault, server), _)| {
                format!("{phase} {server} {fault}")
            })
        };
        chart
            .configure_mesh()
            .disable_y_mesh()
            .x_desc("share of runs")
            .y_labels(bars.len())
            .y_label_formatter(&label)
            .draw()
            .map_err(failed)?;
        for outcome in Outcome::ALL {
            let rectangles = bars.iter().enumerate().filter_map(|(place, (_, cell))| {
                let all = cell.runs.max(1) as f64;
                let before: usize = Outcome::ALL
                    .iter()
                    .take_while(|other| **other != outcome)
                    .map(|other| cell.of(*other))
                    .sum();
                let count = cell.of(outcome);
                let (from, to) = (before as f64 / all, (before + count) as f64 / all);
                let (bottom, top) = (place as f64 + 0.1, place as f64 + 0.9);
                (count > 0)
                    .then(|| Rectangle::new([(from, bottom), (to, top)], colour(outcome).filled()))
            });
            let drawn = chart.draw_series(rectangles).map_err(failed)?;
            if tables.all.of(outcome) > 0 {
                drawn.label(outcome.name()).legend(move |(x, y)| {
                    Rectangle::new([(x, y - 5), (x + 10, y + 5)], colour(outcome).filled())
                });
            }
        }
        chart
            .configure_series_labels()
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK)
            .draw()
            .map_err(failed)?;
        root.present().map_err(failed)?;
    }
    Ok(svg)
}

/// Latencies as cumulative shares, on a logarithmic axis.
pub(super) fn latencies(latencies: &[Latency]) -> Result<String> {
    let shown: Vec<&Latency> = latencies
        .iter()
        .filter(|latency| !latency.name.contains(':'))
        .collect();
    let most = shown
        .iter()
        .filter_map(|latency| latency.values.last())
        .max()
        .copied()
        .unwrap_or(1)
        .max(10) as f64;
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (960, 400)).into_drawing_area();
        root.fill(&WHITE).map_err(failed)?;
        let mut chart = ChartBuilder::on(&root)
            .margin(10)
            .x_label_area_size(40)
            .y_label_area_size(60)
            .build_cartesian_2d((1.0..most * 1.1).log_scale(), 0.0..1.0)
            .map_err(failed)?;
        chart
            .configure_mesh()
            .x_desc("ticks (instructions)")
            .y_desc("share")
            .draw()
            .map_err(failed)?;
        for (number, latency) in shown.into_iter().enumerate() {
            let style = Palette99::pick(number).stroke_width(2);
            let all = latency.values.len() as f64;
            let points = latency
                .values
                .iter()
                .enumerate()
                .map(|(place, ticks)| ((*ticks).max(1) as f64, (place + 1) as f64 / all));
            chart
                .draw_series(LineSeries::new(points, style))
                .map_err(failed)?
                .label(latency.name.clone())
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 15, y)], style));
        }
        chart
            .configure_series_labels()
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK)
            .draw()
            .map_err(failed)?;
        root.present().map_err(failed)?;
    }
    Ok(svg)
}
