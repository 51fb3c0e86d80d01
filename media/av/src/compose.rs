//! Which pictures stand where on the canvas.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ffmpeg_next::format::Pixel;
use ffmpeg_next::frame;
use ffmpeg_next::software::scaling;

use crate::error::Error;
use crate::manifest::{Manifest, Scene};
use crate::picture::{Reader, Track};

pub const WIDTH: u32 = 1280;
pub const HEIGHT: u32 = 720;
const WHOLE: Area = Area {
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
/// A quarter of the canvas in both directions, off the corner by 16 pixels.
const CORNER: Area = Area {
    x: WIDTH * 3 / 4 - 16,
    y: HEIGHT * 3 / 4 - 16,
    width: WIDTH / 4,
    height: HEIGHT / 4,
};

/// A part of the canvas; all numbers even, because colour has half the resolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Area {
    x: u32,
    y: u32,
    width: u32,
    height: u32,
}

/// The lesson's pictures over time.
pub struct Composer {
    scenes: Vec<Scene>,
    tracks: BTreeMap<String, Track>,
    stills: BTreeMap<String, PathBuf>,
    /// The still that is on, or was last; none of the others takes memory.
    still: Option<Still>,
    scaled: BTreeMap<(String, bool), Scaled>,
    /// What the last canvas showed: (scene, serial of each picture).
    last: Option<(usize, Vec<u64>)>,
}

impl Composer {
    pub fn new(manifest: &Manifest) -> Composer {
        let tracks = manifest
            .pictures
            .iter()
            .map(|(name, clips)| (name.clone(), Track::new(clips)))
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

    /// The canvas at this time; `None` when it is what it was before.
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
                None => self.still(name),
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
        let mut canvas = black(WIDTH, HEIGHT);
        for (name, area) in parts {
            let (picture, name) = match self.tracks.get_mut(&name) {
                Some(track) => (track.at(time_ms as i64)?, name),
                None => (
                    self.still.as_ref().and_then(Still::picture),
                    STILL.to_owned(),
                ),
            };
            let Some((serial, picture)) = picture else {
                continue;
            };
            let scaled = self.scaled.entry((name, area == CORNER)).or_default();
            scaled.update(serial, picture, area)?;
            blit(&scaled.picture, area, &mut canvas);
        }
        Ok(canvas)
    }

    /// Gets a still ready, and says which picture it is. One that cannot be read leaves its place black: the lesson is more than a page.
    fn still(&mut self, name: &str) -> u64 {
        if let Some(still) = self.still.as_ref().filter(|still| still.name == name) {
            return still.serial;
        }
        let serial = self.still.as_ref().map_or(1, |still| still.serial + 1);
        let first = |path: &PathBuf| {
            Reader::open(path)
                .and_then(|mut file| file.next())
                .ok()
                .flatten()
        };
        let picture = self
            .stills
            .get(name)
            .and_then(first)
            .map(|(_, picture)| picture);
        self.still = Some(Still {
            name: name.to_owned(),
            serial,
            picture,
        });
        serial
    }
}

/// Under which name a still is scaled: the same place, one after the other. No track is called so.
const STILL: &str = "";

/// A page of a deck.
struct Still {
    name: String,
    serial: u64,
    picture: Option<frame::Video>,
}

impl Still {
    fn picture(&self) -> Option<(u64, &frame::Video)> {
        Some((self.serial, self.picture.as_ref()?))
    }
}

fn layout(scene: &Scene) -> Vec<(String, Area)> {
    let main_area = if scene.beside.is_some() { LEFT } else { WHOLE };
    let parts = [
        (&scene.main, main_area),
        (&scene.beside, RIGHT),
        (&scene.inset, CORNER),
    ];
    parts
        .into_iter()
        .filter_map(|(name, area)| Some((name.clone()?, area)))
        .collect()
}

/// A track's picture at the size it was last drawn in.
struct Scaled {
    serial: u64,
    area: Option<Area>,
    scaler: Option<scaling::Context>,
    picture: frame::Video,
}

impl Default for Scaled {
    fn default() -> Scaled {
        Scaled {
            serial: 0,
            area: None,
            scaler: None,
            picture: frame::Video::empty(),
        }
    }
}

impl Scaled {
    fn update(&mut self, serial: u64, picture: &frame::Video, area: Area) -> Result<(), Error> {
        if self.serial == serial && self.area == Some(area) {
            return Ok(());
        }
        (self.serial, self.area) = (serial, Some(area));
        let (width, height) = fit(picture, area);
        self.picture = scale(&mut self.scaler, picture, width, height)?;
        Ok(())
    }
}

/// Scales to 4:2:0 at this size, with a scaler that is kept while it fits.
pub fn scale(
    scaler: &mut Option<scaling::Context>,
    picture: &frame::Video,
    width: u32,
    height: u32,
) -> Result<frame::Video, Error> {
    let from = scaling::context::Definition {
        format: picture.format(),
        width: picture.width(),
        height: picture.height(),
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
        .expect("made above")
        .run(picture, &mut out)?;
    Ok(out)
}

/// The largest even size with the picture's shape inside the area.
fn fit(picture: &frame::Video, area: Area) -> (u32, u32) {
    let (w, h) = (
        u64::from(picture.width().max(1)),
        u64::from(picture.height().max(1)),
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

pub fn black(width: u32, height: u32) -> frame::Video {
    let mut canvas = frame::Video::new(Pixel::YUV420P, width, height);
    canvas.data_mut(0).fill(16);
    canvas.data_mut(1).fill(128);
    canvas.data_mut(2).fill(128);
    canvas
}

/// Copies a picture into the middle of an area.
fn blit(picture: &frame::Video, area: Area, canvas: &mut frame::Video) {
    let x = (area.x + (area.width - picture.width()) / 2) & !1;
    let y = (area.y + (area.height - picture.height()) / 2) & !1;
    for plane in 0..3 {
        let shift = if plane == 0 { 0 } else { 1 };
        let (width, height) = (
            (picture.width() >> shift) as usize,
            (picture.height() >> shift) as usize,
        );
        let (from, to) = (picture.stride(plane), canvas.stride(plane));
        let start = (y >> shift) as usize * to + (x >> shift) as usize;
        let target = &mut canvas.data_mut(plane)[start..];
        let rows = picture
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
    fn a_portrait_camera_keeps_its_shape() {
        let portrait = frame::Video::new(Pixel::YUV420P, 360, 640);
        assert_eq!(fit(&portrait, WHOLE), (404, 720));
        let wide = frame::Video::new(Pixel::YUV420P, 1920, 1080);
        assert_eq!(fit(&wide, LEFT), (640, 360));
    }

    #[test]
    fn a_picture_lands_in_its_area_and_nowhere_else() {
        let mut white = frame::Video::new(Pixel::YUV420P, 320, 180);
        (0..3).for_each(|plane| white.data_mut(plane).fill(200));
        let mut canvas = black(WIDTH, HEIGHT);
        blit(&white, CORNER, &mut canvas);
        let stride = canvas.stride(0);
        let at = |x: u32, y: u32| canvas.data(0)[y as usize * stride + x as usize];
        assert_eq!(
            (at(CORNER.x, CORNER.y), at(CORNER.x - 1, CORNER.y)),
            (200, 16)
        );
        assert_eq!(
            (
                at(CORNER.x + 319, CORNER.y + 179),
                at(CORNER.x + 320, CORNER.y + 179)
            ),
            (200, 16)
        );
    }
}
