//! H264 and AAC into a file.

use std::path::Path;

use ffmpeg_next::codec::{self, Id};
use ffmpeg_next::format::context::Output;
use ffmpeg_next::format::sample::{Sample, Type};
use ffmpeg_next::{ChannelLayout, Dictionary, Packet, Rational, encoder, format, frame};

use crate::error::Error;
use crate::picture::MILLISECONDS;
use crate::sound::RATE;

/// Good speech and some music.
const SOUND_BITS: usize = 128_000;

/// An MP4 file to be written, before its header.
pub fn create(path: &Path) -> Result<Output, Error> {
    format::output_as(path, "mp4").map_err(Error::output(path))
}

/// H264 pictures whose times are milliseconds.
pub struct PictureEncoder {
    encoder: encoder::video::Encoder,
    stream: usize,
}

impl PictureEncoder {
    /// `keyframe_every`: pictures from keyframe to keyframe, at most.
    pub fn add(
        file: &mut Output,
        width: u32,
        height: u32,
        keyframe_every: u32,
    ) -> Result<PictureEncoder, Error> {
        let codec = encoder::find_by_name("libx264").ok_or(Error::Lacks("libx264"))?;
        let mut encoder = codec::context::Context::new_with_codec(codec)
            .encoder()
            .video()?;
        encoder.set_width(width);
        encoder.set_height(height);
        encoder.set_format(format::Pixel::YUV420P);
        encoder.set_time_base(MILLISECONDS);
        encoder.set_frame_rate(Some(Rational(25, 1)));
        encoder.set_gop(keyframe_every);
        encoder.set_max_b_frames(0);
        encoder.set_flags(codec::Flags::GLOBAL_HEADER);
        let mut options = Dictionary::new();
        options.set("preset", "veryfast");
        options.set("crf", "25");
        options.set("forced-idr", "1");
        options.set("threads", &threads().to_string());
        let encoder = encoder.open_with(options)?;
        let mut stream = file.add_stream(codec)?;
        stream.set_time_base(MILLISECONDS);
        stream.set_parameters(&encoder);
        Ok(PictureEncoder {
            encoder,
            stream: stream.index(),
        })
    }

    /// Encodes a picture; one whose kind is set to I becomes a keyframe.
    pub fn encode(
        &mut self,
        mut picture: frame::Video,
        time_ms: i64,
        file: &mut Output,
    ) -> Result<(), Error> {
        picture.set_pts(Some(time_ms));
        self.encoder.send_frame(&picture)?;
        self.pass(file)
    }

    pub fn finish(&mut self, file: &mut Output) -> Result<(), Error> {
        self.encoder.send_eof()?;
        self.pass(file)
    }

    fn pass(&mut self, file: &mut Output) -> Result<(), Error> {
        let mut packet = Packet::empty();
        while self.encoder.receive_packet(&mut packet).is_ok() {
            write(packet.clone(), self.stream, MILLISECONDS, file)?;
        }
        Ok(())
    }
}

/// One per core, within the address space that the job is given.
fn threads() -> usize {
    std::thread::available_parallelism()
        .map_or(1, |cores| cores.get())
        .min(8)
}

/// AAC, stereo.
pub struct SoundEncoder {
    encoder: encoder::audio::Encoder,
    stream: usize,
    leaves_out_priming: bool,
}

impl SoundEncoder {
    pub fn add(file: &mut Output) -> Result<SoundEncoder, Error> {
        let codec = encoder::find(Id::AAC).ok_or(Error::Lacks("an AAC encoder"))?;
        let mut encoder = codec::context::Context::new_with_codec(codec)
            .encoder()
            .audio()?;
        encoder.set_rate(RATE as i32);
        encoder.set_channel_layout(ChannelLayout::STEREO);
        encoder.set_format(Sample::F32(Type::Planar));
        encoder.set_bit_rate(SOUND_BITS);
        encoder.set_time_base((1, RATE as i32));
        encoder.set_flags(codec::Flags::GLOBAL_HEADER);
        let encoder = encoder.open_as(codec)?;
        let mut stream = file.add_stream(codec)?;
        stream.set_time_base((1, RATE as i32));
        stream.set_parameters(&encoder);
        Ok(SoundEncoder {
            encoder,
            stream: stream.index(),
            leaves_out_priming: false,
        })
    }

    /// Drops the packet of silence before time zero, with which an encoder begins. A whole file tells players to skip it; a fragmented
    /// one cannot, and would shift all that follows.
    pub fn leave_out_priming(&mut self) {
        self.leaves_out_priming = true;
    }

    /// Samples that the encoder takes at a time.
    pub fn frame_size(&self) -> usize {
        self.encoder.frame_size() as usize
    }

    pub fn encode(
        &mut self,
        position: i64,
        left: &[f32],
        right: &[f32],
        file: &mut Output,
    ) -> Result<(), Error> {
        let mut sound =
            frame::Audio::new(Sample::F32(Type::Planar), left.len(), ChannelLayout::STEREO);
        sound.set_rate(RATE);
        sound.plane_mut::<f32>(0).copy_from_slice(left);
        sound.plane_mut::<f32>(1).copy_from_slice(right);
        sound.set_pts(Some(position));
        self.encoder.send_frame(&sound)?;
        self.pass(file)
    }

    pub fn finish(&mut self, file: &mut Output) -> Result<(), Error> {
        self.encoder.send_eof()?;
        self.pass(file)
    }

    fn pass(&mut self, file: &mut Output) -> Result<(), Error> {
        let mut packet = Packet::empty();
        while self.encoder.receive_packet(&mut packet).is_ok() {
            let priming = packet.pts().is_some_and(|pts| pts < 0);
            if !(priming && self.leaves_out_priming) {
                write(packet.clone(), self.stream, Rational(1, RATE as i32), file)?;
            }
        }
        Ok(())
    }
}

/// Writes a packet; the muxer interleaves.
pub fn write(
    mut packet: Packet,
    stream: usize,
    time_base: Rational,
    file: &mut Output,
) -> Result<(), Error> {
    let target = file
        .stream(stream)
        .expect("added before the header")
        .time_base();
    packet.set_stream(stream);
    packet.rescale_ts(time_base, target);
    packet.set_position(-1);
    packet.write_interleaved(file)?;
    Ok(())
}
