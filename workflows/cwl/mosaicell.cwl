#!/usr/bin/env cwl-runner
cwlVersion: v1.2
class: CommandLineTool
label: Mosaicell
doc: Segments every cell in microscopy images of any modality.

hints:
  DockerRequirement:
    dockerPull: mosaicell:cpu
  SoftwareRequirement:
    packages:
      mosaicell:
        version: ["0.1.0"]
requirements:
  InlineJavascriptRequirement: {}
  ResourceRequirement:
    coresMin: 2
    ramMin: 2000

baseCommand: mosaicell
arguments:
  - prefix: --output
    valueFrom: masks
  - prefix: --threads
    valueFrom: $(runtime.cores)
  - --report

inputs:
  images:
    type: File[]
    doc: TIFF, PNG, JPEG, BMP, WebP and MetaImage; all are done by one process, whose models stay loaded
    inputBinding:
      position: 1
  system:
    type: string?
    doc: which system segments
    inputBinding:
      prefix: --system
  tta:
    type: boolean?
    doc: better masks in 2 to 4 times the time
    inputBinding:
      prefix: --tta
  channels:
    type: string[]?
    doc: channels by number from 1 or by name
    inputBinding:
      prefix: --channels
  expand_px:
    type: int?
    doc: px by which cells grow without merging
    inputBinding:
      prefix: --expand
  overlay:
    type: boolean?
    doc: also write pictures with outlines
    inputBinding:
      prefix: --overlay
  table:
    type: boolean?
    doc: also write a table of the cells of each image
    inputBinding:
      prefix: --table
  weights:
    type: Directory?
    doc: models other than those of the package
    inputBinding:
      prefix: --weights

outputs:
  masks:
    type: File[]
    doc: NAME_label.tiff for each image, 0 is background, cells are 1 to n
    outputBinding:
      glob: masks/*_label.tiff
  overlays:
    type: File[]
    outputBinding:
      glob: masks/*_overlay.png
  tables:
    type: File[]
    outputBinding:
      glob: masks/*_cells.csv
  report:
    type: File
    doc: figures of every image, and the weights that were used
    outputBinding:
      glob: masks/run.json

# an image that fails fails the step; the log names it
successCodes: [0]
permanentFailCodes: [1, 2]
temporaryFailCodes: [137, 143]
