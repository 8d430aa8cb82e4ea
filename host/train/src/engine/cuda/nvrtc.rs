//! Compiles kernels with NVRTC, CUDA's compiler as a library: no toolkit, no headers, and no GPU either.

#![allow(unsafe_code, reason = "calls into NVRTC, a C library")]

use std::ffi::{CStr, CString};
use std::ptr;

use cudarc::nvrtc::{result as nvrtc, sys};

use super::kernels::Source;

/// Machine code of one file's kernels for one architecture.
pub(crate) struct Cubin {
    pub(crate) image: Vec<u8>,
    /// What the compiler said; with `verbose`, each kernel's registers and spills.
    #[cfg_attr(not(test), expect(dead_code, reason = "tests bound the spills in it"))]
    pub(crate) log: String,
}

/// Whether libnvrtc is where the system looks for libraries.
pub(crate) fn is_present() -> bool {
    // SAFETY: only tries to load the library.
    unsafe { sys::is_culib_present() }
}

/// Compiles a file for compute capability `major`.`minor`; the error is the compiler's log. Takes 0.1 to 2 seconds.
pub(crate) fn compile(source: &Source, (major, minor): (u32, u32), is_verbose: bool) -> Result<Cubin, String> {
    let text = CString::new(source.text()).expect("kernels hold no zero byte");
    let name = CString::new(source.file).expect("file names hold no zero byte");
    let mut options = vec![format!("--gpu-architecture=sm_{major}{minor}"), "--std=c++17".to_owned()];
    if is_verbose {
        options.push("--ptxas-options=-v".to_owned());
    }
    let program = Program(nvrtc::create_program(&text, Some(&name)).map_err(|error| error.to_string())?);
    // SAFETY: the program is alive, and so are its text and its name.
    let compiled = unsafe { nvrtc::compile_program(program.0, &options) };
    // SAFETY: as above; the log ends with a zero byte.
    let log = unsafe {
        let log = nvrtc::get_program_log(program.0).map_err(|error| error.to_string())?;
        CStr::from_ptr(log.as_ptr()).to_string_lossy().into_owned()
    };
    compiled.map_err(|error| format!("{}: {error}\n{log}", source.file))?;
    Ok(Cubin { image: program.image().map_err(|error| error.to_string())?, log })
}

/// An NVRTC program, destroyed at the end.
struct Program(sys::nvrtcProgram);

impl Program {
    fn image(&self) -> Result<Vec<u8>, nvrtc::NvrtcError> {
        let mut size = 0;
        // SAFETY: the program was compiled for a real architecture, so it has an image of the size it says.
        unsafe {
            sys::nvrtcGetCUBINSize(self.0, ptr::from_mut(&mut size)).result()?;
            let mut image = vec![0_u8; size];
            sys::nvrtcGetCUBIN(self.0, image.as_mut_ptr().cast()).result()?;
            Ok(image)
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: created by NVRTC, destroyed once. An error would leave nothing to do.
        let _ = unsafe { nvrtc::destroy_program(self.0) };
    }
}
