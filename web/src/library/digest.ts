// SHA-256 of a file, computed in a worker so that the UI stays responsive.

/**
 * Returns the SHA-256 of a file in hexadecimal, or null if `onRead`, which gets the number of bytes
 * read, returned false. Also null where the browser cannot run the worker; the server then finds
 * duplicates after the upload. Rejects if the file is unreadable.
 */
export function sha256Of(file: File, onRead: (bytes: number) => boolean): Promise<string | null> {
  const worker = new Worker(new URL('./digest.worker.ts', import.meta.url), { type: 'module' })
  const result = new Promise<string | null>((resolve, reject) => {
    worker.onmessage = ({
      data,
    }: MessageEvent<{ read?: number; sha256?: string; failed?: string }>) => {
      if (data.sha256) resolve(data.sha256)
      else if (data.failed) reject(new Error(data.failed))
      else if (!onRead(data.read ?? 0)) resolve(null)
    }
    worker.onerror = () => resolve(null)
    worker.postMessage(file)
  })
  return result.finally(() => worker.terminate())
}
