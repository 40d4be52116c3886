--- What a file is, by the end of its name. A table of our own: that of the system differs from
--- machine to machine, and may be missing.

local TEXT = "; charset=utf-8"

local TYPES = {
  aac = "audio/aac",
  apng = "image/apng",
  avif = "image/avif",
  bin = "application/octet-stream",
  bmp = "image/bmp",
  bz2 = "application/x-bzip2",
  css = "text/css" .. TEXT,
  csv = "text/csv" .. TEXT,
  eot = "application/vnd.ms-fontobject",
  epub = "application/epub+zip",
  flac = "audio/flac",
  gif = "image/gif",
  gz = "application/gzip",
  htm = "text/html" .. TEXT,
  html = "text/html" .. TEXT,
  ico = "image/x-icon",
  ics = "text/calendar" .. TEXT,
  jpeg = "image/jpeg",
  jpg = "image/jpeg",
  js = "text/javascript" .. TEXT,
  json = "application/json",
  jsonld = "application/ld+json",
  m3u8 = "application/vnd.apple.mpegurl",
  m4a = "audio/mp4",
  map = "application/json",
  md = "text/markdown" .. TEXT,
  mjs = "text/javascript" .. TEXT,
  mov = "video/quicktime",
  mp3 = "audio/mpeg",
  mp4 = "video/mp4",
  oga = "audio/ogg",
  ogg = "audio/ogg",
  ogv = "video/ogg",
  opus = "audio/ogg",
  otf = "font/otf",
  pdf = "application/pdf",
  png = "image/png",
  rss = "application/rss+xml",
  svg = "image/svg+xml",
  tar = "application/x-tar",
  tif = "image/tiff",
  tiff = "image/tiff",
  ts = "video/mp2t",
  ttf = "font/ttf",
  txt = "text/plain" .. TEXT,
  vtt = "text/vtt" .. TEXT,
  wasm = "application/wasm",
  wav = "audio/wav",
  weba = "audio/webm",
  webm = "video/webm",
  webmanifest = "application/manifest+json",
  webp = "image/webp",
  woff = "font/woff",
  woff2 = "font/woff2",
  xhtml = "application/xhtml+xml",
  xml = "application/xml",
  xz = "application/x-xz",
  zip = "application/zip",
}

--- The type of a file of that name.
---@param name string
---@return string
return function(name)
  local ending = name:match("%.(%w+)$")
  return ending and TYPES[ending:lower()] or "application/octet-stream"
end
