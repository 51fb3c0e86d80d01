import { describe, expect, it } from 'vitest'
import {
  cameraEncodings,
  preferAudio,
  preferVideo,
  screenEncodings,
  withOpusBitrate,
  withStartBitrate,
} from './sdp'

const chromium = [
  { mimeType: 'video/VP8' },
  { mimeType: 'video/rtx' },
  { mimeType: 'video/VP9', sdpFmtpLine: 'profile-id=0' },
  {
    mimeType: 'video/H264',
    sdpFmtpLine: 'level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f',
  },
  {
    mimeType: 'video/H264',
    sdpFmtpLine: 'level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42001f',
  },
  {
    mimeType: 'video/H264',
    sdpFmtpLine: 'level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f',
  },
  {
    mimeType: 'video/H264',
    sdpFmtpLine: 'level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=640034',
  },
  { mimeType: 'video/AV1' },
]

describe('codec preferences and encodings', () => {
  it('H264 constrained baseline first, then baseline, then VP8', () => {
    expect(
      preferVideo(chromium).map((codec) => codec.sdpFmtpLine?.slice(-6) ?? codec.mimeType),
    ).toEqual(['42e01f', '42001f', 'video/VP8', 'video/rtx'])
  })

  it('a browser without H264 still sends VP8', () => {
    expect(
      preferVideo([{ mimeType: 'video/VP8' }, { mimeType: 'video/AV1' }]).map(
        (codec) => codec.mimeType,
      ),
    ).toEqual(['video/VP8'])
  })

  it('RED before plain Opus', () => {
    const audio = [
      { mimeType: 'audio/opus' },
      { mimeType: 'audio/PCMU' },
      { mimeType: 'audio/red' },
    ]
    expect(preferAudio(audio).map((codec) => codec.mimeType)).toEqual(['audio/red', 'audio/opus'])
  })

  it('a shared screen has a small layer of one size, whatever the size of the screen, unless it is small itself', () => {
    expect(screenEncodings(1080).map((one) => [one.rid, one.scaleResolutionDownBy])).toEqual([
      ['s', 1080 / 324],
      ['f', 1],
    ])
    expect(720 / (screenEncodings(720)[0]?.scaleResolutionDownBy ?? 0)).toBe(324)
    expect(screenEncodings(600).map((one) => one.rid)).toEqual(['f'])
  })

  it('a large camera has three layers from small to full, a small one only itself', () => {
    expect(cameraEncodings(720).map((one) => [one.rid, one.scaleResolutionDownBy])).toEqual([
      ['q', 4],
      ['h', 2],
      ['f', 1],
    ])
    expect(cameraEncodings(240)).toHaveLength(1)
  })
})

describe('SDP parameters', () => {
  it('sets the bitrate of speech in the existing fmtp, or in a new one', () => {
    const answer =
      'a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\na=rtpmap:96 H264/90000\r\n'
    expect(withOpusBitrate(answer, 40000)).toContain(
      'a=fmtp:111 minptime=10;useinbandfec=1;maxaveragebitrate=40000\r\n',
    )
    const bare = 'a=rtpmap:111 opus/48000/2\r\na=sendrecv\r\n'
    expect(withOpusBitrate(bare, 40000)).toBe(
      'a=rtpmap:111 opus/48000/2\r\na=fmtp:111 maxaveragebitrate=40000\r\na=sendrecv\r\n',
    )
    expect(withOpusBitrate(withOpusBitrate(answer, 40000), 50000)).not.toContain('50000')
  })

  it('sets the initial bandwidth estimate, for video only', () => {
    const answer =
      'a=rtpmap:111 opus/48000/2\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\na=rtpmap:98 VP8/90000\r\n'
    expect(withStartBitrate(answer, 1_500_000)).toBe(
      'a=rtpmap:111 opus/48000/2\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1;x-google-start-bitrate=1500\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\na=rtpmap:98 VP8/90000\r\na=fmtp:98 x-google-start-bitrate=1500\r\n',
    )
  })
})
