//! The figures of several plugins, a column each.

use comfy_table::{CellAlignment, Table};

use super::measure::{Figures, PerSecond, Percentiles};

type Row = (&'static str, fn(&Figures) -> String);

const ROWS: [Row; 14] = [
    ("world", |figures| figures.world.to_string()),
    ("size", |figures| bytes(figures.size_bytes as f64)),
    ("load, cold", |figures| time(figures.load_cold_ms * 1e3)),
    ("load, warm", |figures| time(figures.load_warm_ms * 1e3)),
    ("asked", |figures| figures.unit.to_owned() + "s"),
    ("fresh, p50 / p99", |figures| both(figures.fresh_us, time)),
    ("warm, p50 / p99", |figures| figures.warm_us.map_or("-".to_owned(), |warm| both(warm, time))),
    ("fresh a second, 1 thread", |figures| count(figures.fresh_per_second.one_thread)),
    ("fresh a second, all threads", |figures| count(figures.fresh_per_second.all_threads)),
    ("warm a second, 1 thread", |figures| warm(figures, |warm| warm.one_thread)),
    ("warm a second, all threads", |figures| warm(figures, |warm| warm.all_threads)),
    ("fuel, p50 / p99", |figures| both(figures.fuel, count)),
    ("memory, p50 / p99", |figures| both(figures.memory_bytes, bytes)),
    ("faults", |figures| match figures.faults {
        0 => "0".to_owned(),
        faults => format!("{faults} of {}", figures.asked),
    }),
];

pub(super) fn of(figures: &[Figures]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::ASCII_MARKDOWN);
    let threads = figures.first().map_or(0, |figures| figures.threads);
    let corner = format!("all threads = {threads}");
    table.set_header([corner].into_iter().chain(figures.iter().map(|figures| figures.plugin.clone())));
    for (name, value) in ROWS {
        table.add_row([name.to_owned()].into_iter().chain(figures.iter().map(value)));
    }
    table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    table
}

fn both(percentiles: Percentiles, shown: fn(f64) -> String) -> String {
    format!("{} / {}", shown(percentiles.p50), shown(percentiles.p99))
}

fn warm(figures: &Figures, which: fn(PerSecond) -> f64) -> String {
    figures.warm_per_second.map_or("-".to_owned(), |warm| count(which(warm)))
}

fn time(micros: f64) -> String {
    match micros {
        ..1e3 => format!("{micros:.0} us"),
        ..1e6 => format!("{:.2} ms", micros / 1e3),
        _ => format!("{:.2} s", micros / 1e6),
    }
}

fn bytes(bytes: f64) -> String {
    match bytes {
        ..1e3 => format!("{bytes:.0} B"),
        ..1e6 => format!("{:.0} KB", bytes / 1e3),
        _ => format!("{:.1} MB", bytes / 1e6),
    }
}

/// With a comma between thousands.
fn count(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        #[track_caller]
        fn check(shown: fn(f64) -> String, value: f64, expected: &str) {
            assert_eq!(shown(value), expected);
        }
        check(time, 9.4, "9 us");
        check(time, 10_321.0, "10.32 ms");
        check(time, 2.5e6, "2.50 s");
        check(bytes, 141_234.0, "141 KB");
        check(bytes, 18.4e6, "18.4 MB");
        check(count, 7.0, "7");
        check(count, 399_000.4, "399,000");
        check(count, 1_234_567.0, "1,234,567");
    }
}
