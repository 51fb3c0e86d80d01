//! Composition of video tracks and stills on one canvas.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ffmpeg_next::format::Pixel;
use ffmpeg_next::frame;
use ffmpeg_next::software::scaling;

use crate::error::Error;
use crate::manifest::{Manifest, Scene};
use crate::video::{VideoReader, VideoTrack};

/// Width of the canvas in pixels.
pub const WIDTH: u32 = 1280;
/// Height of the canvas in pixels.
pub const HEIGHT: u32 = 720;
const FULL: Area = Area {
    x: 0,
    y: 0,
    width: WIDTH,
    height: HEIGHT,
};
const LEFT: Area = Area {
    x: 0,
    y: 0,
    width: WIDTH / 2,
    height: HEIGHT,
};
const RIGHT: Area = Area {
    x: WIDTH / 2,
    y: 0,
    width: WIDTH / 2,
    height: HEIGHT,
};
/// A quarter of the canvas in both directions, 16 pixels off the bottom right corner.
const INSET: Area = Area {
    x: WIDTH * 3 / 4 - 16,
    y: HEIGHT * 3 / 4 - 16,
    width: WIDTH / 4,
    height: HEIGHT / 4,
};

/// Rectangle of the canvas in pixels. All numbers are even: chroma has half the resolution (4:2:0).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Area {
    x: u32,
    y: u32,
    width: u32,
    height: u32,
}

/// Canvas of a lesson over time.
pub struct Composer {
    scenes: Vec<Scene>,
    tracks: BTreeMap<String, VideoTrack>,
    stills: BTreeMap<String, PathBuf>,
    /// Still that is shown or was shown last; the others are not kept in memory.
    still: Option<Still>,
    /// Scaled frames by source name; true for the inset.
    scaled: BTreeMap<(String, bool), ScaledFrame>,
    /// Content of the last canvas: index of the scene, serial number of each frame.
    last: Option<(usize, Vec<u64>)>,
}

impl Composer {
    /// Creates a composer of the tracks, stills and scenes of a manifest.
    pub fn new(manifest: &Manifest) -> Composer {
        let tracks = manifest
            .video
            .iter()
            .map(|(name, clips)| (name.clone(), VideoTrack::new(clips)))
            .collect();
        let stills = manifest.stills.clone();
        let scenes = manifest.scenes.clone();
        Composer {
            scenes,
            tracks,
            stills,
            still: None,
            scaled: BTreeMap::new(),
            last: None,
        }
    }

    /// Returns the canvas at `time_ms`; `None` if it is unchanged. Times must not decrease.
    pub fn at(&mut self, time_ms: u64) -> Result<Option<frame::Video>, Error> {
        let scene = self
            .scenes
            .partition_point(|scene| scene.from_ms <= time_ms);
        let parts = scene
            .checked_sub(1)
            .map(|index| layout(&self.scenes[index]))
            .unwrap_or_default();
        let mut serials = Vec::new();
        for (name, _) in &parts {
            serials.push(match self.tracks.get_mut(name) {
                Some(track) => track.at(time_ms as i64)?.map_or(0, |(serial, _)| serial),
                None => self.load_still(name),
            });
        }
        let now = Some((scene, serials));
        if now == self.last {
            return Ok(None);
        }
        self.last = now;
        self.draw(parts, time_ms).map(Some)
    }

    fn draw(&mut self, parts: Vec<(String, Area)>, time_ms: u64) -> Result<frame::Video, Error> {
        let mut canvas = black_frame(WIDTH, HEIGHT);
        for (name, area) in parts {
            let (frame, name) = match self.tracks.get_mut(&name) {
                Some(track) => (track.at(time_ms as i64)?, name),
                None => (self.still.as_ref().and_then(Still::frame), STILL.to_owned()),
            };
            let Some((serial, frame)) = frame else {
                continue;
            };
            let scaled = self.scaled.entry((name, area == INSET)).or_default();
            scaled.update(serial, frame, area)?;
            blit(&scaled.frame, area, &mut canvas);
        }
        Ok(canvas)
    }

    /// Loads a still if it is not loaded; returns its serial number.
    ///
    /// An unreadable still leaves its area black, because the rest of the lesson is still useful.
    fn load_still(&mut self, name: &str) -> u64 {
        if let Some(still) = self.still.as_ref().filter(|still| still.name == name) {
            return still.serial;
        }
        let serial = self.still.as_ref().map_or(1, |still| still.serial + 1);
        let first = |path: &PathBuf| {
            VideoReader::open(path)
                .and_then(|mut file| file.next())
                .ok()
                .flatten()
        };
        let frame = self
            .stills
            .get(name)
            .and_then(first)
            .map(|(_, frame)| frame);
        self.still = Some(Still {
            name: name.to_owned(),
            serial,
            frame,
        });
        serial
    }
}

/// Source name of all stills in the map of scaled frames; no track has an empty name.
const STILL: &str = "";

/// Still image, for example a page of a deck; `frame` is `None` if it cannot be read.
struct Still {
    name: String,
    serial: u64,
    frame: Option<frame::Video>,
}

impl Still {
    fn frame(&self) -> Option<(u64, &frame::Video)> {
        Some((self.serial, self.frame.as_ref()?))
    }
}

/// Sources of a scene and their areas, in drawing order.
fn layout(scene: &Scene) -> Vec<(String, Area)> {
    let main_area = if scene.beside.is_some() { LEFT } else { FULL };
    let parts = [
        (&scene.main, main_area),
        (&scene.beside, RIGHT),
        (&scene.inset, INSET),
    ];
    parts
        .into_iter()
        .filter_map(|(name, area)| Some((name.clone()?, area)))
        .collect()
}

/// Frame of a source at the size in which it was last drawn.
struct ScaledFrame {
    serial: u64,
    area: Option<Area>,
    scaler: Option<scaling::Context>,
    frame: frame::Video,
}

impl Default for ScaledFrame {
    fn default() -> ScaledFrame {
        ScaledFrame {
            serial: 0,
            area: None,
            scaler: None,
            frame: frame::Video::empty(),
        }
    }
}

impl ScaledFrame {
    /// Scales the frame to fit `area` if the frame or the area has changed.
    fn update(&mut self, serial: u64, frame: &frame::Video, area: Area) -> Result<(), Error> {
        if self.serial == serial && self.area == Some(area) {
            return Ok(());
        }
        (self.serial, self.area) = (serial, Some(area));
        let (width, height) = fit(frame, area);
        self.frame = scale(&mut self.scaler, frame, width, height)?;
        Ok(())
    }
}

/// Scales a frame to `width` × `height` in YUV 4:2:0. Reuses `scaler` while sizes and formats
/// match.
pub fn scale(
    scaler: &mut Option<scaling::Context>,
    frame: &frame::Video,
    width: u32,
    height: u32,
) -> Result<frame::Video, Error> {
    let from = scaling::context::Definition {
        format: frame.format(),
        width: frame.width(),
        height: frame.height(),
    };
    let to = scaling::context::Definition {
        format: Pixel::YUV420P,
        width,
        height,
    };
    if !scaler
        .as_ref()
        .is_some_and(|known| *known.input() == from && *known.output() == to)
    {
        let quality = scaling::Flags::BILINEAR;
        *scaler = Some(scaling::Context::get(
            from.format,
            from.width,
            from.height,
            to.format,
            width,
            height,
            quality,
        )?);
    }
    let mut out = frame::Video::empty();
    scaler
        .as_mut()
        .expect("created above")
        .run(frame, &mut out)?;
    Ok(out)
}

/// Largest even size inside the area with the aspect ratio of the frame.
fn fit(frame: &frame::Video, area: Area) -> (u32, u32) {
    let (w, h) = (
        u64::from(frame.width().max(1)),
        u64::from(frame.height().max(1)),
    );
    let (aw, ah) = (u64::from(area.width), u64::from(area.height));
    let (width, height) = if w * ah >= h * aw {
        (aw, aw * h / w)
    } else {
        (ah * w / h, ah)
    };
    let even = |size: u64| (size as u32 & !1).max(2);
    (even(width), even(height))
}

/// Creates a black frame.
fn black_frame(width: u32, height: u32) -> frame::Video {
    let mut canvas = frame::Video::new(Pixel::YUV420P, width, height);
    canvas.data_mut(0).fill(16);
    canvas.data_mut(1).fill(128);
    canvas.data_mut(2).fill(128);
    canvas
}

/// Copies a frame into the middle of an area.
fn blit(frame: &frame::Video, area: Area, canvas: &mut frame::Video) {
    let x = (area.x + (area.width - frame.width()) / 2) & !1;
    let y = (area.y + (area.height - frame.height()) / 2) & !1;
    for plane in 0..3 {
        let shift = if plane == 0 { 0 } else { 1 };
        let (width, height) = (
            (frame.width() >> shift) as usize,
            (frame.height() >> shift) as usize,
        );
        let (from, to) = (frame.stride(plane), canvas.stride(plane));
        let start = (y >> shift) as usize * to + (x >> shift) as usize;
        let target = &mut canvas.data_mut(plane)[start..];
        let rows = frame
            .data(plane)
            .chunks(from)
            .zip(target.chunks_mut(to))
            .take(height);
        rows.for_each(|(row, into)| into[..width].copy_from_slice(&row[..width]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_portrait_camera_keeps_its_aspect_ratio() {
        let portrait = frame::Video::new(Pixel::YUV420P, 360, 640);
        assert_eq!(fit(&portrait, FULL), (404, 720));
        let wide = frame::Video::new(Pixel::YUV420P, 1920, 1080);
        assert_eq!(fit(&wide, LEFT), (640, 360));
    }

    #[test]
    fn a_frame_is_drawn_only_inside_its_area() {
        let mut white = frame::Video::new(Pixel::YUV420P, 320, 180);
        (0..3).for_each(|plane| white.data_mut(plane).fill(200));
        let mut canvas = black_frame(WIDTH, HEIGHT);
        blit(&white, INSET, &mut canvas);
        let stride = canvas.stride(0);
        let at = |x: u32, y: u32| canvas.data(0)[y as usize * stride + x as usize];
        assert_eq!((at(INSET.x, INSET.y), at(INSET.x - 1, INSET.y)), (200, 16));
        assert_eq!(
            (
                at(INSET.x + 319, INSET.y + 179),
                at(INSET.x + 320, INSET.y + 179)
            ),
            (200, 16)
        );
    }
}
