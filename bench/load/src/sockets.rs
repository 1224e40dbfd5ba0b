//! The memory that the kernel holds for the server's sockets, from `ss -tm`.
//!
//! Guarantees: what counts is what is held now: received and not read (`r`), written and not yet
//! acknowledged (`w`), reserved ahead (`f`), options (`o`) and the backlog (`bl`).
//! Limits (`rb`, `tb`) are left out, and so is `t`: those bytes stand in `w` too.

use std::process::Command;

/// One of the server's sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Socket {
    /// The port of the client at its other end.
    pub client: u16,
    /// The bytes that the kernel holds for it.
    pub bytes: u64,
}

/// The connections that were made to a port of this machine, at the server's end.
///
/// # Errors
/// If there is no `ss`, which is part of iproute2.
pub fn of_server(port: u16) -> Result<Vec<Socket>, String> {
    let filter = format!("sport = :{port}");
    let output = Command::new("ss").args(["-t", "-m", "-n", "-H", "-O", &filter]).output();
    let output = output.map_err(|error| format!("`ss` of iproute2 is needed: {error}"))?;
    if !output.status.success() {
        return Err(format!("ss: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(parse(&String::from_utf8_lossy(&output.stdout)))
}

/// The sockets of the output of `ss -tmnHO`, one a line.
fn parse(output: &str) -> Vec<Socket> {
    output.lines().filter_map(socket).collect()
}

fn socket(line: &str) -> Option<Socket> {
    let client = line.split_whitespace().nth(4)?.rsplit_once(':')?.1.parse().ok()?;
    let (_, memory) = line.split_once("skmem:(")?;
    let fields = memory.split_once(')')?.0.split(',');
    Some(Socket { client, bytes: fields.filter_map(held).sum() })
}

/// The bytes of a field that is held.
fn held(field: &str) -> Option<u64> {
    let digits = field.find(|c: char| c.is_ascii_digit())?;
    let (name, number) = field.split_at(digits);
    ["r", "w", "f", "o", "bl"].contains(&name).then(|| number.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_held_bytes_of_every_socket_are_added() {
        let output = "ESTAB 0 2054 127.0.0.1:4100 127.0.0.1:40514 skmem:(r16,rb131072,t1,tb2626560,f2042,w4102,o8,bl32,d0)\n\
            ESTAB 0 0 [::ffff:127.0.0.1]:4100 [::ffff:127.0.0.1]:5 skmem:(r0,rb131072,t0,tb2626560,f0,w0,o0,bl0,d3)\n";
        assert_eq!(parse(output), [Socket { client: 40_514, bytes: 6_200 }, Socket { client: 5, bytes: 0 }]);
    }

    #[test]
    fn a_line_without_memory_is_left_out() {
        assert_eq!(parse("ESTAB 0 0 127.0.0.1:1 127.0.0.1:2\n\nState Recv-Q\n"), []);
    }
}
