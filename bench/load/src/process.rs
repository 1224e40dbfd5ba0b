//! What the server spends: processor time and memory, as the system counts them.
//!
//! Guarantees: both are of the whole process, kernel time included, however busy the machine is.
//! It sees nothing of the memory that the kernel holds for sockets: see [`crate::sockets`].

use std::{fs, path::PathBuf};

/// A running process.
#[derive(Debug, Clone, Copy)]
pub struct Process {
    id: u32,
}

impl Process {
    /// The process with this id.
    #[must_use]
    pub fn new(id: u32) -> Self {
        Self { id }
    }

    /// Seconds on a processor, user and system together.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn cpu_seconds(self) -> Result<f64, String> {
        let ticks = ticks(&self.read("stat")?).ok_or("/proc/ID/stat is not understood")?;
        Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
    }

    /// Resident memory in bytes.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn resident(self) -> Result<f64, String> {
        self.status("VmRSS:")
    }

    /// The most resident memory since [`Process::forget_peak`], in bytes.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn peak(self) -> Result<f64, String> {
        self.status("VmHWM:")
    }

    /// Lets the peak begin anew.
    ///
    /// # Errors
    /// If the system does not allow it: the process must be the same user's.
    pub fn forget_peak(self) -> Result<(), String> {
        fs::write(self.place("clear_refs"), "5").map_err(|error| format!("the peak cannot be reset: {error}"))
    }

    /// The folder that it works in.
    ///
    /// # Errors
    /// If the process is gone, or another user's.
    pub fn folder(self) -> Result<PathBuf, String> {
        fs::read_link(self.place("cwd")).map_err(|error| format!("process {} cannot be read: {error}", self.id))
    }

    fn status(self, key: &str) -> Result<f64, String> {
        kilobytes(&self.read("status")?, key).ok_or_else(|| format!("/proc/{}/status has no {key}", self.id))
    }

    fn place(self, file: &str) -> String {
        format!("/proc/{}/{file}", self.id)
    }

    fn read(self, file: &str) -> Result<String, String> {
        fs::read_to_string(self.place(file)).map_err(|error| format!("process {} cannot be read: {error}", self.id))
    }
}

/// User and system ticks of `/proc/ID/stat`. The name in it may hold anything, brackets included.
fn ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

fn kilobytes(status: &str, key: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()? * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_found_behind_any_name() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194560 100 0 0 0 1234 766 0 0 20 0 1 0 100 1000 10";
        assert_eq!(ticks(stat), Some(2_000));
        assert_eq!(ticks("42 (a"), None);
    }

    #[test]
    fn memory_is_found_by_its_key() {
        let status = "Name:\ta\nVmHWM:\t   2048 kB\nVmRSS:\t   1024 kB\n";
        assert_eq!(kilobytes(status, "VmRSS:"), Some(1_048_576.0));
        assert_eq!(kilobytes(status, "VmSwap:"), None);
    }

    #[test]
    fn this_process_has_memory_and_time() {
        let own = Process::new(std::process::id());
        assert!(own.resident().expect("it runs") > 100_000.0);
        assert!(own.cpu_seconds().expect("it runs") >= 0.0);
    }
}
