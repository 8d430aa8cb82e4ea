//! Standard output. Whoever closed it, as `head` does, has seen enough: that is no error, and no reason to stop training.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};

/// `println!` without its panic.
macro_rules! outln {
    ($($text:tt)*) => { $crate::out::line(format_args!($($text)*)) };
}

/// `print!` without its panic.
macro_rules! out {
    ($($text:tt)*) => { $crate::out::text(format_args!($($text)*)) };
}

/// Writes text and the end of its line.
pub(crate) fn line(text: Arguments) {
    self::text(format_args!("{text}\n"));
}

/// Writes text.
pub(crate) fn text(text: Arguments) {
    let mut out = std::io::stdout().lock();
    match out.write_fmt(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            eprintln!("error: cannot write to standard output: {error}");
            std::process::exit(2);
        }
        _ => {}
    }
}
