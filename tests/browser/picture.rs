//! Files of results, and pictures among them as pixels: decoded by code that has nothing to do with the browser.

use serde_json::Value;

/// What is wrong at most with each part of a colour in a JPEG.
const LOSS: u8 = 12;

/// A picture.
pub struct Picture {
    /// Lossy.
    pub jpeg: bool,
    pub width: u32,
    pub height: u32,
    /// Red, green and blue of every pixel.
    pixels: Vec<u8>,
}

impl Picture {
    /// The only file of a payload, which must be a picture of the kind that is told.
    #[track_caller]
    pub fn of(payload: &Value) -> Picture {
        let (mime, bytes) = file(payload);
        let picture = Self::decode(&bytes);
        let kind = if picture.jpeg {
            "image/jpeg"
        } else {
            "image/png"
        };
        assert_eq!(mime, kind);
        picture
    }

    #[track_caller]
    pub fn decode(bytes: &[u8]) -> Picture {
        if bytes.starts_with(&[0xff, 0xd8]) {
            let mut decoder = jpeg_decoder::Decoder::new(bytes);
            let pixels = decoder.decode().unwrap();
            let info = decoder.info().unwrap();
            assert_eq!(info.pixel_format, jpeg_decoder::PixelFormat::RGB24);
            let (width, height) = (info.width.into(), info.height.into());
            return Picture {
                jpeg: true,
                width,
                height,
                pixels,
            };
        }
        let mut decoder = png::Decoder::new(std::io::Cursor::new(bytes));
        decoder.set_transformations(png::Transformations::STRIP_16 | png::Transformations::EXPAND);
        let mut reader = decoder.read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let frame = reader.next_frame(&mut pixels).unwrap();
        let samples = frame.color_type.samples();
        assert!(samples >= 3, "{:?}", frame.color_type);
        Picture {
            jpeg: false,
            width: frame.width,
            height: frame.height,
            pixels: pixels
                .chunks_exact(samples)
                .flat_map(|pixel| pixel[..3].to_vec())
                .collect(),
        }
    }

    pub fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// The colour of a pixel.
    #[track_caller]
    pub fn at(&self, x: u32, y: u32) -> [u8; 3] {
        assert!(x < self.width && y < self.height, "{x},{y}");
        let begin = (y * self.width + x) as usize * 3;
        self.pixels[begin..begin + 3].try_into().unwrap()
    }

    /// Demands a colour of a pixel, in a JPEG nearly that one.
    #[track_caller]
    pub fn shows(&self, x: u32, y: u32, colour: [u8; 3]) {
        let seen = self.at(x, y);
        let loss = if self.jpeg { LOSS } else { 0 };
        let near = seen
            .iter()
            .zip(colour)
            .all(|(seen, wanted)| seen.abs_diff(wanted) <= loss);
        assert!(near, "{seen:?} instead of {colour:?} at {x},{y}");
    }

    /// The same of every pixel of an area.
    #[track_caller]
    pub fn is_filled(&self, (x, y, width, height): (u32, u32, u32, u32), colour: [u8; 3]) {
        for y in y..y + height {
            for x in x..x + width {
                self.shows(x, y, colour);
            }
        }
    }
}

/// The kind and the bytes of the only file of a payload, wherever its result names it.
#[track_caller]
pub fn file(payload: &Value) -> (String, Vec<u8>) {
    let files = payload["files"].as_array().expect("a file");
    assert_eq!(files.len(), 1, "{}", payload["result"]);
    let result = &payload["result"];
    let named = ["/path", "/imagePath", "/download/path"]
        .iter()
        .find_map(|place| result.pointer(place));
    assert_eq!(named, Some(&files[0]["path"]), "{result}");
    let base64 = files[0]["base64"].as_str().unwrap();
    let bytes = data_encoding::BASE64.decode(base64.as_bytes()).unwrap();
    let kept = std::fs::read(files[0]["path"].as_str().unwrap()).unwrap();
    assert!(kept == bytes, "the file and what was sent differ");
    (files[0]["mimeType"].as_str().unwrap().to_owned(), bytes)
}
