// Package shards reads image-text pairs from the files people have: WebDataset tars, Parquet, JSONL, CSV and TSV, and
// plain folders; and documents of several images and texts: MMC4, OBELICS, MINT-1T, LLaVA's conversations and image edits.
// Every format is one file with one type behind the Format interface, and passes the suite in shardtest.
//
// Resolve turns the command line's patterns into sorted sources, (*Input).Ranges into ranges that start and end between
// rows, and Read yields a range's pairs. The rows of a source and their numbers do not depend on how it is split.
//
// # Bad input
//
// Every row of the input comes out once, as a pair, a document or a reject; only a failed store, a cancelled context and a file
// that is not as long as it was when planned are errors. Pixels are not looked at here: an HTML page named .jpg is passed
// on. Where a row has several faults, the first in the order of name, columns asked for, text, image is reported (in
// archives and folders the image goes before the text).
//
//	any format
//	  file gone since planning                   one row, unreadable_source, retryable
//	  store fails, context cancelled             error, the last thing yielded
//	  image of 0 bytes                           no_image
//	  image above MaxImageBytes                  too_large, not read
//	  caption above 1 MiB                        too_large
//	  caption, JSON or CSV field not UTF-8       text_not_utf8
//	  name or key not UTF-8                      bytes written as \xNN, row kept
//	  column asked for and absent                missing_column
//	  other field above 64 KiB, binary member,   row kept, its name listed in the metadata field "_skipped"
//	    image that is not the preferred one
//	tar, tar.gz
//	  cut off, header damaged, size negative     the sample at hand and all after it: one row, unreadable_source, with the
//	    or impossible, pax or GNU header broken    byte offset and the sample's key; a sample before it is kept only
//	    or above 1 MiB, gzip damaged               when the next one had begun
//	  data behind the end that is no archive     one row, unreadable_source; a second archive is read on; after gzip's
//	                                               own end it is padding
//	  0 bytes                                    one row, unreadable_source (an empty archive has 1,024)
//	  absolute name, "..", NUL                   unsafe_name
//	  JSON sidecar broken or empty               unreadable_source; above 16 MiB too_large
//	  image is a link or a sparse file           no_image; a caption that is one: unreadable_source
//	  folder, device, hidden file, no extension  no part of a sample
//	  key again, adjacent or not                 a sample of its own
//	  key with dots, so that several members     no_image, naming them; one alone is taken
//	    only end in .jpg
//	Parquet
//	  footer broken, encrypted, above 256 MiB    one row, unreadable_source
//	    or claiming more rows than bytes
//	  page broken, above 1 GiB, or a claim       every later row of its row group, unreadable_source, with its key as long
//	    that its column cannot hold                as the key column holds
//	  image null                                 no_image, with img2dataset's status and error_message
//	  no image column, or two that may be it     every row, missing_column, without reading images
//	JSONL, CSV, TSV
//	  line no JSON object                        unreadable_source
//	  record with more or fewer fields           unreadable_source
//	  line or record above 64 MiB                too_large, not held
//	  quote never closed                         the rest of the file: one row, unreadable_source
//	  header that does not end                   the file: one row, unreadable_source
//	  image path absolute or with ".."           unsafe_name (a path below ImageRoot may be absolute)
//	  image file gone, or path of none           no_image, retryable
//	  image is a URL                             no_image
//	  base64 or data: URL broken                 undecodable
//	  byte order mark, CRLF, blank lines         passed over; blank lines are no rows
//	documents, any format (as above, and)
//	  lists missing, of other types,             the document: missing_column, unreadable_source; none of its images is read
//	    or of two lengths
//	  an index with both or neither of text      the document: unreadable_source ("" beside the other one is a null)
//	    and image
//	  more than 65,536 elements, a text above    the document: too_large
//	    1 MiB or all above 16 MiB, not UTF-8       or text_not_utf8
//	  no element at all                          the document: no_image
//	  an image missing, empty, too large,        that image, as in a row of JSONL; the document comes and names it
//	    its path unsafe
//	MMC4
//	  matched_text_index that is no text's       the document: unreadable_source
//	  archive of images damaged                  images not found in it: unreadable_source
//	OBELICS
//	  URL without ImageRoot                      that image: no_image
//	  embedded row above 1 GiB                   the document: unreadable_source
//	MINT-1T
//	  no .json, or broken                        the document: missing_column, unreadable_source
//	  frame not in its TIFF, TIFF damaged        that image: no_image, undecodable
//	  pixels of other than 8 bits a channel      that image: unsupported_format
//	  images above 1 GiB in a tar.gz             those behind: too_large
//	LLaVA
//	  other number of <image> than of images     the document: unreadable_source
//	  element above 64 MiB                       too_large, not held
//	  array that does not end, data behind it    what is left: one document, unreadable_source
//	edits
//	  image or instruction column missing        the document: missing_column
//	folder
//	  .json sidecar broken                       unreadable_source
//	  record in metadata.jsonl or .csv broken    images without an entry: unreadable_source, because it may be theirs
//	  two images that differ in extension        both rows, keys with extension
package shards
